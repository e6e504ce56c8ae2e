"""A party of a proven sum: a client of the secure sum that commits, and proves, before it hands over its masked vector.

The commitment comes after the party has agreed on masks and before anybody uploads, in a stage of its own ("commit").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.proofs.terms import Sealed, Terms
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.client import Client
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.rules import Rules


class ProvenClient:
    """One party. `agree` before the stage "commit" says what is proven: its own plan knows, not the server."""

    __slots__ = ("_clients", "_masks", "_name", "_ready", "_sealed", "_source", "_terms")

    def __init__(
        self,
        rules: Rules,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> None:
        self._masks = Client(replace(rules, proof="", proof_of=()), name, identity, run, trusted, source)
        self._name, self._source = name, source or System()
        self._terms, self._clients = Terms(), 1
        self._ready: int | None = None  # the round in which a commitment comes next
        self._sealed: tuple[int, Sealed] | None = None  # the round, and what was committed to in it

    def __repr__(self) -> str:
        return repr(self._masks)

    def agree(self, terms: Terms, clients: int = 1) -> None:
        """Prove by these terms; `clients` is how many clients' contributions a vector may be the sum of."""
        self._terms, self._clients = terms, clients

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server; `vector` (size,) uint32 is needed in the stage "commit".

        Raises:
            ProtocolError: what the secure sum refuses, a stage out of order, or a vector over the bound.
        """
        stage = str(request.kind).removeprefix(wire.KIND)
        if stage == wire.COMMIT:
            return self._commit(request, vector)
        upload = None
        if stage == "masked":
            if self._sealed is None or self._sealed[0] != request.round:
                raise ProtocolError(
                    f"nothing was committed to in round {request.round}: a vector is asked for too soon"
                )
            upload = self._sealed[1].upload
        reply = self._masks.answer(request, upload)
        self._ready = request.round if stage == "share" else None
        if stage in ("advertise", "share", "masked"):
            self._sealed = None
        return reply

    def _commit(self, request: Request, vector: Array | None) -> Reply:
        if type(request.round) is not int or request.round != self._ready:
            raise ProtocolError(f"no commitment is due in round {request.round}: out of order, or given already")
        if vector is None:
            raise ProtocolError("no vector is at hand to be committed to")
        sealed = self._terms.seal(request.round, self._name, vector, self._source, self._clients)
        self._ready, self._sealed = None, (request.round, sealed)
        return Reply({"commitment": wire.as_array(sealed.commitment), "proof": wire.as_array(sealed.proof)})
