"""Roots and proofs of the Merkle tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.audit.merkle import EMPTY, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion
from tacit.core.values import VerificationError

# Known answers: leaves, roots and proofs of the Certificate Transparency reference implementation.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
}
CT_CONSISTENCY = {
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def tree_of(leaves: list[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    return tree


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


TREE = tree_of([f"entry {i}".encode() for i in range(40)])


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_certificate_transparency_vectors(size: int) -> None:
    tree = tree_of([bytes.fromhex(leaf) for leaf in CT_LEAVES])
    assert tree.root(size).hex() == CT_ROOTS[size]
    assert tree_of([bytes.fromhex(leaf) for leaf in CT_LEAVES[:size]]).root().hex() == CT_ROOTS[size]


def test_proofs_are_those_of_the_certificate_transparency_vectors() -> None:
    tree = tree_of([bytes.fromhex(leaf) for leaf in CT_LEAVES])
    for (index, size), proof in CT_INCLUSION.items():
        assert [step.hex() for step in tree.inclusion(index, size)] == proof
    for (first, second), proof in CT_CONSISTENCY.items():
        assert [step.hex() for step in tree.consistency(first, second)] == proof


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_incremental_root_is_the_one_by_definition(leaves: list[bytes]) -> None:
    tree = Tree()
    for count, leaf in enumerate(leaves):
        announced = tree.root_with(leaf_hash(leaf))
        tree.append(leaf_hash(leaf))
        assert tree.root() == announced == by_definition(leaves[: count + 1])
    assert tree.root() == by_definition(leaves)


def test_every_inclusion_proof_below_forty_leaves_holds_and_no_other_leaf_passes() -> None:
    for size in range(1, 40):
        root = TREE.root(size)
        for index in range(size):
            proof = TREE.inclusion(index, size)
            verify_inclusion(TREE.levels[0][index], index, size, proof, root)
            with pytest.raises(VerificationError):
                verify_inclusion(TREE.levels[0][39], index, size, proof, root)
            with pytest.raises(VerificationError):
                verify_inclusion(TREE.levels[0][index], (index + 1) % (size + 1), size, proof, root)


def test_every_consistency_proof_below_forty_leaves_holds_and_no_other_root_passes() -> None:
    for second in range(1, 40):
        for first in range(second + 1):
            proof = TREE.consistency(first, second)
            old, new = TREE.root(first), TREE.root(second)
            verify_consistency(first, second, proof, old, new)
            if first > 0:
                for wrong in ((bytes(32), new), (old, bytes(32))):
                    with pytest.raises(VerificationError):
                        verify_consistency(first, second, proof, *wrong)


@given(st.integers(2, 39), st.data())
def test_a_proof_with_one_step_changed_dropped_or_added_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size - 1))
    inclusion, consistency = list(TREE.inclusion(index, size)), list(TREE.consistency(first, size))
    for proof in (inclusion, consistency):
        place = data.draw(st.integers(0, len(proof) - 1))
        how = data.draw(st.sampled_from(["change", "drop", "add"]))
        if how == "change":
            proof[place] = node_hash(proof[place], proof[place])
        elif how == "drop":
            del proof[place]
        else:
            proof.insert(place, proof[place])
    with pytest.raises(VerificationError):
        verify_inclusion(TREE.levels[0][index], index, size, inclusion, TREE.root(size))
    with pytest.raises(VerificationError):
        verify_consistency(first, size, consistency, TREE.root(first), TREE.root(size))


def test_a_proof_is_as_long_as_the_tree_is_high() -> None:
    assert len(TREE.inclusion(0, 32)) == 5
    assert len(TREE.inclusion(38, 39)) == 3  # 39 = 32 + 4 + 2 + 1: the last leaf hangs high up
    assert TREE.inclusion(0, 1) == () and TREE.consistency(7, 7) == () and TREE.consistency(0, 7) == ()


def test_sizes_and_indices_that_do_not_exist_are_refused() -> None:
    for call in (
        lambda: TREE.root(41),
        lambda: TREE.inclusion(40),
        lambda: TREE.inclusion(3, 3),
        lambda: TREE.consistency(9, 8),
        lambda: TREE.consistency(1, 41),
    ):
        with pytest.raises(ValueError, match=r"lea[vf]"):
            call()
    with pytest.raises(VerificationError):
        verify_inclusion(leaf_hash(b""), 1, 1, (), leaf_hash(b""))
    with pytest.raises(VerificationError):
        verify_consistency(2, 1, (), EMPTY, EMPTY)
    with pytest.raises(VerificationError):
        verify_consistency(0, 1, (), leaf_hash(b""), leaf_hash(b""))
    with pytest.raises(VerificationError, match="empty"):
        verify_consistency(3, 4, (), EMPTY, EMPTY)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
