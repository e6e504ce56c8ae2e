"""What a plan asks to be proven of a contribution, as terms that server and clients reckon alike, each by itself."""

from __future__ import annotations

import math

from tacit.core.plan import Plan
from tacit.core.trees import marked
from tacit.core.values import Array, Params, PlanError, Turn
from tacit.learning.integers import SLACK, Codec
from tacit.privacy import protection
from tacit.privacy.packing import Packed
from tacit.privacy.proofs.terms import Terms


def terms_of(plan: Plan, codec: Codec, turns: tuple[Turn, ...], run: bytes, like: Params) -> Terms | None:
    """The terms of a round's proofs, or None where the plan asks for none.

    The bound of a norm counts steps of the codec and is that of the plan's transforms. Clients shrink what they send by
    what stochastic rounding may add (`Sessions`), so rounding needs no room of its own.

    Args:
        plan: with a secure sum.
        codec: of the round's contributions.
        turns: of the round.
        run: names the run.
        like: a contribution's parameters by name, before it is encoded.

    Raises:
        PlanError: more values than can be proven, several in a word, a norm that nothing bounds, a part that is none.
    """
    kind = str(getattr(plan.secure_sum, "proof", ""))
    if not kind:
        return None
    if isinstance(codec, Packed):
        raise PlanError("several numbers are packed into a word here, of which nothing can be proven: do not pack")
    chosen = _chosen(like, tuple(getattr(plan.secure_sum, "proof_of", ())), sum(codec.lengths))
    size, bound = sum(codec.lengths) if chosen is None else int(chosen.sum()), 1
    if kind == "norm":
        reach = protection.reach(plan, turns)
        if not math.isfinite(reach):
            raise PlanError('proof = "norm" needs a contribution that its transforms bound: put a Clip into `protect`')
        bound = math.ceil(reach * SLACK / codec.steps[0] * (1.0 + 1e-9))
    return Terms(kind, size, bound, plan.digest(), run, chosen)


def _chosen(like: Params, names: tuple[str, ...], size: int) -> Array | None:
    """(size,) bool: which values of a contribution, laid end to end in name order, are proven; None = all."""
    if not names:
        return None
    if unknown := sorted(set(names) - like.keys()):
        raise PlanError(f"proof_of names parts of what is sent, which are {sorted(like)}; got {unknown[0]!r}")
    out = marked(like, names)
    if len(out) != size:
        raise PlanError(
            f"a contribution of {len(out)} values leaves as {size}, so its parts cannot be told apart: drop proof_of, "
            "or do not compress"
        )
    return out
