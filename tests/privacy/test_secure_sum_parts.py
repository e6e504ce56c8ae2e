"""The parts of the secure sum: Shamir shares, masks, the graph and its bounds, rosters, keys."""

from __future__ import annotations

import itertools
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.toml import dumps, loads
from tacit.core.values import PlanError, ProtocolError
from tacit.privacy.secure_sum import graph, keys, masks, shamir, wire
from tacit.privacy.secure_sum.entropy import System
from tacit.privacy.secure_sum.groups import partition, robust
from tacit.privacy.secure_sum.roster import join
from tacit.privacy.secure_sum.rules import Rules
from tacit.privacy.secure_sum.sum import SecAgg

stats = pytest.importorskip("scipy.stats")


# ---- Shamir

sharing = st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))


def lagrange_at(points: list[int], values: list[int], x: int) -> int:
    """Brute force: one inverse a term."""
    total = 0
    for i, mine in enumerate(points):
        term = values[i]
        for other in points:
            if other != mine:
                term = term * (x - other) * pow(mine - other, -1, shamir.PRIME) % shamir.PRIME
        total += term
    return total % shamir.PRIME


@given(sharing, st.binary(min_size=32, max_size=32), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_threshold_of_shares_gives_the_secret_and_agrees_with_brute_force(
    sizes: tuple[int, int], secret: bytes, chance: random.Random
) -> None:
    threshold, count = sizes
    shares = shamir.split(secret, threshold, count, System())
    points = sorted(chance.sample(range(1, count + 1), threshold))
    chosen = [shares[point - 1] for point in points]
    assert shamir.combine(points, chosen) == secret
    values = [int.from_bytes(share, "big") for share in chosen]
    assert lagrange_at(points, values, 0) == int.from_bytes(secret, "big")
    for point in range(1, count + 1):  # every other share lies on the same polynomial
        assert lagrange_at(points, values, point) == int.from_bytes(shares[point - 1], "big")


@given(st.integers(2, 9), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
@settings(max_examples=30, deadline=None)
def test_one_share_too_few_fits_every_secret_equally(threshold: int, secret: bytes, other: bytes) -> None:
    """Perfect secrecy: for any other secret there is a last share with which the first t - 1 give that one."""
    shares = shamir.split(secret, threshold, threshold, System())[:-1]
    known = [int.from_bytes(share, "big") for share in shares]
    last = lagrange_at([0, *range(1, threshold)], [int.from_bytes(other, "big"), *known], threshold)
    completed = [*shares, last.to_bytes(shamir.SHARE, "big")]
    assert shamir.combine(range(1, threshold + 1), completed) == other
    assert threshold == 2 or shamir.combine(range(1, threshold), shares) != secret


def test_shares_of_one_secret_differ_each_time() -> None:
    assert shamir.split(bytes(32), 3, 5, System()) != shamir.split(bytes(32), 3, 5, System())


def test_the_field_is_prime_and_holds_every_32_byte_secret() -> None:
    assert shamir.PRIME > 2**256
    assert all(pow(a, shamir.PRIME - 1, shamir.PRIME) == 1 for a in (2, 3, 5, 7, 11, 13))
    top = b"\xff" * 32
    shares = shamir.split(top, 2, 4, System())
    assert shamir.combine([2, 4], [shares[1], shares[3]]) == top


def test_shares_that_open_no_32_bytes_open_nothing() -> None:
    assert shamir.combine([1], [(2**256).to_bytes(33, "big")]) is None


@pytest.mark.parametrize(("secret", "threshold", "count"), [(b"short", 2, 3), (bytes(32), 0, 3), (bytes(32), 4, 3)])
def test_impossible_sharings_are_refused(secret: bytes, threshold: int, count: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        shamir.split(secret, threshold, count, System())


# ---- masks


@pytest.mark.parametrize("size", [0, 1, 3, 4, 32767, 32768, 32769, 70001])
def test_a_mask_is_the_key_stream_of_aes_256_ctr(size: int) -> None:
    seed = bytes(range(32))
    direct = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(4 * size))
    total = np.arange(size, dtype=np.uint32)
    masks.add(total, [seed], [])
    assert np.array_equal(total - np.arange(size, dtype=np.uint32), np.frombuffer(direct, "<u4"))


def test_the_first_block_of_the_zero_seed_is_the_known_answer_of_aes_256() -> None:
    total = np.zeros(4, np.uint32)
    masks.add(total, [bytes(32)], [])
    assert total.astype("<u4").tobytes().hex() == "dc95c078a2408989ad48a21492842087"


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=5), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_masks_that_were_added_can_be_taken_off_in_any_order(seeds: list[bytes], size: int) -> None:
    total = np.arange(size, dtype=np.uint32)
    masks.add(total, seeds, [])
    masks.add(total, [], seeds[::-1])
    assert np.array_equal(total, np.arange(size, dtype=np.uint32))


def test_more_masks_than_ciphers_are_open_at_a_time_add_up() -> None:
    seeds = [number.to_bytes(32, "big") for number in range(600)]
    together, alone = np.zeros(5, np.uint32), np.zeros(5, np.uint32)
    masks.add(together, seeds, seeds[:1])
    for seed in seeds[1:]:
        masks.add(alone, [seed], [])
    assert np.array_equal(together, alone)


def test_masks_are_added_only_to_a_flat_array_of_uint32() -> None:
    for wrong in (np.zeros(4, np.int64), np.zeros((2, 2), np.uint32), np.zeros(8, np.uint32)[::2]):
        with pytest.raises(ValueError, match="uint32"):
            masks.add(wrong, [bytes(32)], [])


# ---- the graph and its bounds


@given(st.integers(2, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_hypergeometric_tails_agree_with_scipy(population: int, data: st.DataObject) -> None:
    marked = data.draw(st.integers(0, population))
    draws = data.draw(st.integers(0, population))
    least = data.draw(st.integers(0, draws + 1))
    expected = float(stats.hypergeom.sf(least - 1, population, marked, draws))
    assert graph.tail(population, marked, draws, least) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(st.integers(3, 400), st.floats(0.0, 0.4), st.floats(0.0, 0.3), st.data())
@settings(max_examples=60, deadline=None)
def test_thresholds_are_the_tightest_that_scipy_allows(
    n: int, dropout: float, colluding: float, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, n - 1))
    bad, gone = graph.share(colluding, n), graph.share(dropout, n)
    least, most, _ = graph.thresholds(n, k, dropout, colluding)

    def exposed(t: int) -> float:
        return n * float(stats.hypergeom.sf(t - 1, n - 1, min(bad, n - 1), k))

    def failing(t: int) -> float:
        return n * float(stats.hypergeom.cdf(t - 1, n - 1, n - 1 - min(gone, n - 1), k))

    slack, secrecy, correctness = 1e-6, 2.0**-41, 2.0**-30
    assert exposed(least) <= secrecy * (1 + slack)
    assert least == 0 or exposed(least - 1) > secrecy * (1 - slack)
    assert failing(most) <= correctness * (1 + slack)
    assert most == k or failing(most + 1) > correctness * (1 - slack)


@pytest.mark.parametrize(("n", "k"), [(8, 2), (9, 4), (10, 4), (11, 6)])
def test_the_chance_of_falling_apart_is_bounded_from_above_for_every_number_of_missing_places(n: int, k: int) -> None:
    steps = graph.offsets(k)
    for removed in range(n - 1):
        apart = 0
        for gone in itertools.combinations(range(n), removed):
            alive = set(range(n)) - set(gone)
            reached, frontier = set(), [min(alive)]
            while frontier:
                place = frontier.pop()
                if place in alive and place not in reached:
                    reached.add(place)
                    frontier += [(place + step) % n for step in steps]
            apart += reached != alive
        assert apart / math.comb(n, removed) <= graph.disconnected(n, k, removed) + 1e-12


@pytest.mark.parametrize(
    ("n", "dropout", "colluding", "lying", "expected"),
    [
        (100, 0.1, 0.05, False, (28, 17)),
        (943, 0.1, 0.05, False, (40, 19)),
        (1000, 0.1, 0.05, False, (40, 19)),
        (943, 0.1, 0.05, True, (90, 58)),
        (10_000, 1 / 3, 0.05, False, (102, 32)),
        (1000, 1 / 3, 0.1, False, (114, 41)),
        (1_000_000, 0.1, 0.05, False, (56, 27)),
    ],
)
def test_the_chosen_graph_is_the_sparsest_that_holds(
    n: int, dropout: float, colluding: float, lying: bool, expected: tuple[int, int]
) -> None:
    k, t = graph.choose(n, dropout, colluding, lying)
    assert (k, t) == expected
    bad, gone = math.ceil(colluding * n), math.ceil(dropout * n)

    def holds(k: int, t: int) -> bool:
        secret = n * stats.hypergeom.sf(t - 1, n - 1, bad, k) <= 2**-41
        correct = n * stats.hypergeom.cdf(t - 1, n - 1, n - 1 - gone, k) <= 2**-30
        connected = n * math.prod((bad + gone - i) / (n - i) for i in range(k // 2)) <= 2**-41
        most = next(c for c in range(k + 1) if n * stats.hypergeom.sf(c, n - 1, bad, k) <= 2**-41)
        return bool(secret and correct and connected and (not lying or 2 * t > k + most))

    assert holds(k, t)
    assert not any(holds(k - 2, other) for other in range(1, k - 1))


def test_slots_are_mirrored_and_a_full_graph_has_everybody_as_neighbour() -> None:
    for n, k in ((7, 4), (7, 6), (8, 7), (2, 1), (12, 6)):
        steps = graph.offsets(k)
        assert len({step % n for step in steps}) == k
        assert all((steps[slot] + steps[k - 1 - slot]) % n == 0 for slot in range(k))


def test_no_sparse_graph_is_chosen_where_only_the_complete_one_holds() -> None:
    assert graph.choose(12, 0.3, 0.3)[0] == 11
    with pytest.raises(PlanError, match="at least 2 clients"):
        graph.choose(1)


# ---- rules and rosters


def test_up_to_a_hundred_clients_everybody_is_neighbour_and_lies_about_dropouts_are_resisted() -> None:
    for n in (20, 57, 100):
        k, t = Rules().shape(n)
        assert k == n - 1
        assert 2 * t > k + math.ceil(0.05 * n)
        assert t <= k - math.ceil(0.1 * n)
        assert Rules().resists_lying(n)
    assert not Rules().resists_lying(943)
    assert Rules(against="malicious").resists_lying(943)
    assert not Rules(against="semi-honest").resists_lying(20)


@given(st.integers(3, 1500), st.sampled_from(["auto", "semi-honest", "malicious"]), st.integers(20, 60))
@settings(max_examples=25, deadline=None)
def test_clients_and_neighbours_get_the_numbers_that_the_bounds_ask_for_in_every_mode(
    n: int, against: str, bits: int
) -> None:
    """By scipy: n P(t or more of k neighbours collude) <= 2^-(bits + 1); against a liar 2 t > k + most colluding."""
    rules = Rules(against=against, dropout=0.2, colluding=0.1, secrecy=bits)
    bad = graph.share(0.1, n)
    if bad >= n - 1:
        return
    k, t = rules.shape(n)
    assert 0 < t <= k <= n - 1
    if k == n - 1:  # nothing is left to chance
        assert t > bad and rules.resists_lying(n) == (against != "semi-honest" and 2 * t > k + bad)
        return
    assert n * stats.hypergeom.sf(t - 1, n - 1, bad, k) <= 2.0 ** -(bits + 1)
    assert n * stats.hypergeom.cdf(t - 1, n - 1, n - 1 - graph.share(0.2, n), k) <= 2.0**-30
    most = next(c for c in range(k + 1) if n * stats.hypergeom.sf(c, n - 1, bad, k) <= 2.0 ** -(bits + 1))
    assert against != "malicious" or (2 * t > k + most and rules.resists_lying(n))


def test_more_bits_ask_for_more_neighbours() -> None:
    shapes = [Rules(secrecy=bits).shape(5000)[0] for bits in (20, 40, 80)]
    assert shapes == sorted(shapes) and len(set(shapes)) == 3
    shapes = [Rules(correctness=bits).shape(5000)[0] for bits in (10, 30, 60)]
    assert shapes == sorted(shapes) and len(set(shapes)) == 3


def test_every_small_cohort_has_a_threshold_that_colluding_neighbours_alone_do_not_reach() -> None:
    for n in range(3, 30):
        k, t = Rules(minimum=2).shape(n)
        assert min(math.ceil(0.05 * n), k - 1) < t <= k


@pytest.mark.parametrize(
    "wrong",
    [
        {"minimum": 1},
        {"minimum": -2},
        {"against": "everybody"},
        {"groups": 0},
        {"secrecy": 0},
        {"correctness": 129},
        {"neighbours": 7},
        {"neighbours": -2},
        {"neighbours": 4, "threshold": 5},
        {"threshold": -1},
        {"dropout": 0.7, "colluding": 0.3},
        {"dropout": -0.1},
        {"dropout": float("nan")},
        {"renew": -1},
    ],
)
def test_rules_that_contradict_themselves_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PlanError):
        SecAgg(**wrong)


def test_neighbours_and_thresholds_that_cannot_hold_are_refused_with_a_way_out() -> None:
    with pytest.raises(PlanError, match="at least 40"):
        Rules(neighbours=10).shape(943)
    with pytest.raises(PlanError, match="19 is needed"):
        Rules(neighbours=40, threshold=3).shape(943)
    with pytest.raises(PlanError, match="30 is needed"):
        Rules(neighbours=40, against="malicious").shape(943)
    with pytest.raises(PlanError, match="cannot be reached"):
        Rules(threshold=19).shape(10)
    with pytest.raises(PlanError, match="at least 2"):
        Rules().shape(1)


def test_the_component_is_built_without_arguments_and_goes_through_toml() -> None:
    component = SecAgg(neighbours=36, against="malicious", groups=3)
    assert SecAgg().least == 20
    assert loads(dumps(component), SecAgg, {}) == component


def test_a_roster_does_not_depend_on_the_order_of_names_and_differs_by_run_and_round() -> None:
    names = [f"node/{i}" for i in range(30)]
    rules = Rules(minimum=2)
    one = rules.roster(b"run", 3, join(names))
    assert one.digest == rules.roster(b"run", 3, join(names[::-1])).digest
    digests = {one.digest, rules.roster(b"run", 4, join(names)).digest, rules.roster(b"nur", 3, join(names)).digest}
    digests |= {rules.roster(b"run", 3, join(names[1:])).digest, Rules(minimum=3).roster(b"run", 3, join(names)).digest}
    assert len(digests) == 5
    assert all(place in one.around(other) for place in range(30) for other in one.around(place))


def test_whoever_leaves_moves_nobody_else_on_the_ring() -> None:
    names = [f"node/{i}" for i in range(50)]
    everyone = Rules(minimum=2).roster(b"run", 0, join(names)).ring.names
    fewer = Rules(minimum=2).roster(b"run", 1, join(names[5:])).ring.names
    assert fewer == tuple(name for name in everyone if name in names[5:])


def test_neighbours_change_when_keys_are_renewed() -> None:
    names = join(f"node/{i}" for i in range(50))
    rules = Rules(minimum=2, renew=3)
    orders = [rules.roster(b"run", round, names).ring.names for round in range(6)]
    assert orders[0] == orders[1] == orders[2] != orders[3] == orders[4] == orders[5]


@pytest.mark.parametrize("joined", [b"a\na", b"", b"a\n\nb", b"\xff\xfe"])
def test_lists_of_names_with_doubles_gaps_or_noise_are_refused(joined: bytes) -> None:
    with pytest.raises(ProtocolError):
        Rules(minimum=2).roster(b"run", 0, joined)


def test_names_that_could_be_mistaken_for_two_are_refused() -> None:
    with pytest.raises(ProtocolError, match="line break"):
        join(["a\nb"])


# ---- keys


def test_two_ends_agree_and_each_run_epoch_roster_and_nonce_gives_other_keys() -> None:
    one, two = (X25519PrivateKey.generate() for _ in range(2))
    identities = [keys.Identity.generate() for _ in range(2)]
    signed = [
        keys.signed_key(identity, key, name, b"run", 0)
        for identity, key, name in zip(identities, (one, two), "ab", strict=True)
    ]
    secret = keys.pair_secret(one, "a", "b", signed[1], b"run", 0)
    assert secret == keys.pair_secret(two, "b", "a", signed[0], b"run", 0)
    others = {
        secret,
        keys.pair_secret(one, "a", "b", signed[1], b"nur", 0),
        keys.pair_secret(one, "a", "b", signed[1], b"run", 1),
        keys.pair_secret(one, "a", "c", signed[1], b"run", 0),
    }
    assert len(others) == 4
    rounds = [(b"1" * 32, b"x" * 16, b"y" * 16), (b"2" * 32, b"x" * 16, b"y" * 16)]
    rounds += [(b"1" * 32, b"z" * 16, b"y" * 16), (b"1" * 32, b"x" * 16, b"z" * 16)]
    derived = [part for digest, low, high in rounds for part in keys.round_keys(secret, digest, low, high)]
    assert len(set(derived)) == 12
    assert {len(part) for part in derived} == {32}


def test_a_degenerate_key_is_refused_even_if_its_owner_signed_it() -> None:
    with pytest.raises(ProtocolError, match="degenerate"):
        keys.pair_secret(X25519PrivateKey.generate(), "a", "b", bytes(32), b"run", 0)


def test_an_identity_survives_saving_and_never_shows_its_private_half() -> None:
    identity = keys.Identity.generate()
    assert keys.Identity.load(identity.save()).public == identity.public
    assert identity.save().hex() not in repr(identity)
    assert repr(identity) == "Identity()"
    with pytest.raises(ProtocolError, match="32 bytes"):
        keys.Identity.load(b"short")


def test_packed_parts_never_collide() -> None:
    packed = {keys.pack("a", "bc"), keys.pack("ab", "c"), keys.pack("abc"), keys.pack("a", "b", "c"), keys.pack("a", 1)}
    assert len(packed) == 5


# ---- groups and traffic


@given(st.integers(1, 60), st.integers(1, 9), st.binary(max_size=4), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_every_client_is_in_one_group_and_groups_are_even_and_depend_on_run_and_epoch_alone(
    n: int, groups: int, run: bytes, epoch: int
) -> None:
    names = [f"node/{i}" for i in range(n)]
    parts = partition(names, groups, run, epoch)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert len(parts) == groups and max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts == partition(names[::-1], groups, run, epoch)


def test_a_robust_rule_sees_the_groups_means_and_answers_on_the_scale_of_the_sum() -> None:
    counts = np.array([2, 3, 5])
    sums = counts[:, None] * np.array([[1.0, 4.0], [2.0, 5.0], [900.0, -7.0]])
    out = robust(lambda updates: np.median(updates, axis=0) * len(updates), sums, counts)
    assert np.allclose(out, 10 * np.array([2.0, 4.0]))
    assert np.allclose(robust(lambda updates: updates.sum(0), counts[:, None] * np.ones((3, 2)), counts), 10.0)
    with pytest.raises(PlanError, match="at least one group"):
        robust(lambda updates: updates.sum(0), np.zeros((0, 2)), np.zeros(0))


@pytest.mark.parametrize("against", ["auto", "semi-honest"])
@pytest.mark.parametrize("n", [5, 9, 40])
def test_the_bytes_of_a_round_can_be_told_from_public_numbers(against: str, n: int) -> None:
    rules = SecAgg(minimum=2, against=against)
    names = [f"node/{i:02}" for i in range(n)]
    parties = rules.parties(names)
    up, down = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    parties.server.start(0, names, 11)
    while parties.server.stage != "finish":
        for name, request in parties.server.requests().items():
            reply = parties.clients[name].answer(request, np.zeros(11, np.uint32))
            up[name] += sum(array.nbytes for array in reply.arrays.values())
            down[name] += sum(array.nbytes for array in request.arrays.values())
            parties.server.receive(name, reply)
        parties.server.close()
    listed = len(join(names))
    told = wire.traffic(n, n - 1, 11, listed, "sign" in rules.stages)
    assert set(zip(up.values(), down.values(), strict=True)) == {told}


def test_every_guarantee_of_the_secure_sum_is_a_test_by_that_name() -> None:
    block = (SecAgg.__doc__ or "").split("    Guarantees:\n")[1].split("\n\n")[0]
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_secure_sum*.py"))
    for line in block.splitlines():
        name = "def test_" + "_".join(re.findall(r"[a-z0-9]+", line.lower())) + "("
        assert name in tests, line.strip()
