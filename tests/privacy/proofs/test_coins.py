"""The two sides of Fiat-Shamir: every message moves the coins after it, and who chooses the coins needs no vector."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tacit.privacy.proofs import generators, group, inner_product, norm_bound, norm_proof, pedersen, projection
from tacit.privacy.proofs.errors import ProofError
from tacit.privacy.proofs.group import combined, decoded, dot, drawn, encoded, scalar, scalars
from tacit.privacy.proofs.norm_bound import Statement, prove, verify
from tacit.privacy.proofs.norm_proof import Answer, Masked, NormProof
from tacit.privacy.proofs.transcript import Transcript
from tacit.privacy.secure_sum.entropy import System

SOURCE = System()


def heard(statement: Statement, proof: NormProof, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All coins of a verification, whether it accepts or not."""
    found: list[bytes] = []
    honest = Transcript.coins

    def recorded(self: Transcript, label: str, count: int) -> bytes:
        found.append(honest(self, label, count))
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Transcript, "coins", recorded)
        try:
            verify(statement, proof.to_bytes())
        except ProofError:
            found.append(b"refused")
    return found


def test_every_part_of_statement_and_proof_moves_the_coins_that_come_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(33, dtype=np.uint32)
    factor = pedersen.blinding(SOURCE)
    statement = Statement(b"context", pedersen.commit(values, factor), 33, 1000)
    proof = norm_proof.from_bytes(prove(statement, values, factor, SOURCE), statement.padded)
    masked, answer, folds = proof.masked, proof.answer, proof.folded.folds
    other, one = encoded(generators.blind()), scalar(1)
    changed = dataclasses.replace
    cases: list[tuple[int, Statement, NormProof]] = [
        (0, changed(statement, context=b"contexts"), proof),
        (0, changed(statement, commitment=other), proof),
        (0, changed(statement, bound=1001), proof),
        (0, statement, changed(proof, wide=other)),
        (1, statement, changed(proof, projections=(*proof.projections[:-1], proof.projections[-1] ^ 1))),
    ]
    for field in ("vector", "wide", "cross", "square"):
        cases.append((2, statement, changed(proof, masked=changed(masked, **{field: other}))))
    cases.append((2, statement, changed(proof, masked=changed(masked, product=masked.product + one))))
    for field in ("blind", "wide_blind", "square", "square_blind"):
        more: Any = {field: getattr(answer, field) + one}
        cases.append((3, statement, changed(proof, answer=changed(answer, **more))))
    wide = (*answer.wide[:-1], answer.wide[-1] + one)
    cases.append((3, statement, changed(proof, answer=changed(answer, wide=wide))))
    for number, fold in enumerate(folds):
        variants = [changed(fold, left=other), changed(fold, right=other)]
        for place in range(4):
            products = [it + one if place == n else it for n, it in enumerate(fold.products)]
            variants.append(changed(fold, products=tuple(products)))
        for variant in variants:
            different = (*folds[:number], variant, *folds[number + 1 :])
            cases.append((3 + number, statement, changed(proof, folded=changed(proof.folded, folds=different))))
    before = heard(statement, proof, monkeypatch)
    assert len(folds) == 2 and len(before) == 3 + 2 + 1  # projection, projections, masks, two folds, batch
    for place, said, changed_proof in cases:
        after = heard(said, changed_proof, monkeypatch)
        assert after[-1] == b"refused"
        assert after[:place] == before[:place]
        assert not set(after[place:]) & set(before[place:])


def test_a_simulator_that_knows_no_vector_but_chooses_one_coin_makes_proofs_that_verify(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Zero knowledge by its definition: what a verifier sees can be made up, even for a vector far over the bound."""
    size, e = 30, drawn(SOURCE.bytes(48))[0]
    over = pedersen.commit(np.full(size, 2**30, np.uint32), pedersen.blinding(SOURCE))
    statement = Statement(b"simulated", over, size, 5)
    points, own = generators.generators("vector", statement.padded), generators.generators("wide", norm_proof.WIDE)
    hide, unit = generators.blind(), generators.generators("value", 1)[0]
    first, blind, wide_blind, square_blind, second = drawn(SOURCE.bytes(5 * 48))
    wide = encoded(hide * first)
    transcript = statement.begin().said("wide", wide)
    matrix = projection.coefficients(transcript, statement.padded + 4)
    shown = tuple(int.from_bytes(SOURCE.bytes(15), "little") % 2**projection.WIDTH for _ in range(projection.ROWS))
    transcript = norm_bound._shown(transcript, shown)
    powers = norm_bound._powers(transcript.challenge("projections"))
    form = projection.form(matrix, powers)
    vector, held = drawn(SOURCE.bytes(48 * statement.padded)), drawn(SOURCE.bytes(48 * norm_proof.WIDE))
    square, inverse = dot(vector, vector) + dot(held[:4], held[:4]), e.inverse()
    last = hide * second
    cross = unit * (square - scalar(statement.bound**2)) + hide * square_blind - last * (e * e)
    masked = Masked(
        encoded((combined([*points, hide], [*vector, blind]) - decoded(over)) * inverse),
        encoded((combined([*own, hide], [*held, wide_blind]) - decoded(wide)) * inverse),
        encoded(cross * inverse),
        encoded(last),
        (dot([*form, *powers], [*vector, *held]) - dot(powers, scalars(shown))) * inverse,
    )
    answer = Answer(tuple(held), blind, wide_blind, square, square_blind)
    honest = Transcript.challenge
    chosen = monkeypatch.context()
    with chosen as patch:
        patch.setattr(Transcript, "challenge", lambda self, label: e if label == "masks" else honest(self, label))
        transcript, _ = norm_bound._challenged(transcript, masked)
        folded = inner_product.prove(norm_bound._answered(transcript, answer), points, vector, form[: statement.padded])
        proof = NormProof(wide, shown, masked, answer, folded).to_bytes()
        verify(statement, proof)
    with pytest.raises(ProofError):  # with the coins as they fall it is worth nothing
        verify(statement, proof)
    assert group.ORDER > int(e) > 0
