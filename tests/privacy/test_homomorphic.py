"""The threshold scheme: exact sums, noise within its budget, and nothing but noise to whoever lacks one share."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tacit.core.values import PlanError, ProtocolError
from tacit.privacy.homomorphic import parameters, sampling, threshold
from tacit.privacy.homomorphic.fingerprint import ROWS, added, fingerprint
from tacit.privacy.homomorphic.ring import BITS, SECURE, Ring, restore, tables, transform
from tacit.privacy.homomorphic.sum import ThresholdRLWE
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import simulated

SMALL, LARGE = Ring(4096, 4), Ring(8192, 5)
RINGS = pytest.mark.parametrize("ring", [SMALL, LARGE], ids=["4096", "8192"])


def keys(ring: Ring, parties: int, source, seed: bytes = b"seed"):
    pairs = [threshold.generate(ring, seed, source) for _ in range(parties)]
    return [secret for secret, _ in pairs], threshold.joint(ring, seed, [share for _, share in pairs])


def summed(key, vectors, source):
    total = threshold.zero(key.ring, len(vectors[0]))
    for vector in vectors:
        threshold.add(total, threshold.encrypt(key, vector, source))
    return total


def opened(secrets, total, parties, source):
    bits, size = parameters.smudging(total.ring, parties), len(total.body)
    return [threshold.partial(secret, total.mask, size, bits, source) for secret in secrets]


def chi_square(values: np.ndarray) -> float:
    """p-value of the values' upper byte being uniform."""
    counts = np.bincount((values >> np.uint64(56)).astype(np.int64), minlength=256)
    return float(stats.chisquare(counts).pvalue)


def test_every_line_of_the_guarantees_is_a_test() -> None:
    import tests.privacy.test_homomorphic as scheme
    import tests.privacy.test_homomorphic_protocol as protocol

    text = (ThresholdRLWE.__doc__ or "").split("Guarantees:")[1].split("\n\n")[0]
    lines = [line.strip() for line in text.strip().splitlines()]
    assert len(lines) == 7
    for line in lines:
        name = "test_" + re.sub(r"\W+", "_", line)
        assert hasattr(scheme, name) or hasattr(protocol, name), name


# --- the ring ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", sorted(SECURE))
def test_moduli_are_distinct_primes_with_roots_and_stay_within_the_security_table(degree: int) -> None:
    ring = Ring(degree, SECURE[degree] // BITS)
    assert len(set(ring.moduli)) == ring.primes and math.log2(ring.q) <= SECURE[degree]
    for p in ring.moduli:
        assert p % (2 * degree) == 1 and p < 2**BITS
        assert all(p % divisor for divisor in range(2, math.isqrt(p) + 1))


@pytest.mark.parametrize(("degree", "primes"), [(4096, 5), (8192, 9), (2048, 2), (4096, 1)])
def test_a_ring_below_128_bits_of_security_does_not_exist(degree: int, primes: int) -> None:
    with pytest.raises(PlanError):
        Ring(degree, primes)


@RINGS
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
@settings(max_examples=5, deadline=None)
def test_the_product_of_transformed_polynomials_is_the_product_modulo_x_to_the_n_plus_1(ring, seed, lanes) -> None:
    random, at, n = np.random.default_rng(seed), tables(ring), ring.degree
    row = int(random.integers(ring.primes))
    p = ring.moduli[row]
    x = random.integers(0, p, (n, lanes)).astype(np.uint32)
    sparse = np.zeros((n, 1), np.uint32)
    places, values = random.integers(0, n, 4).tolist(), random.integers(0, p, 4).tolist()
    terms = dict(zip(places, values, strict=True))
    for place, value in terms.items():
        sparse[place] = value
    expected = np.zeros((n, lanes), object)
    for place, value in terms.items():
        shifted = np.roll(x.astype(object), place, axis=0)
        shifted[:place] *= -1
        expected += value * shifted
    one, other = x.copy(), sparse
    transform(one, at.forward[row], p)
    transform(other, at.forward[row], p)
    product = (one.astype(np.uint64) * other % np.uint64(p)).astype(np.uint32)
    restore(product, at.backward[row], at.shrink[row], p)
    assert np.array_equal(product, (expected % p).astype(np.uint32))


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_secrets_are_uniform_ternary_and_errors_centred_binomial() -> None:
    """Chi-square on 409,600 draws each of seed 1; false alarm 1e-6."""
    source = simulated("draws", 1)
    trits = sampling.ternary((4096, 100), source).astype(int).ravel()
    assert stats.chisquare(np.bincount(trits + 1, minlength=3)).pvalue > 1e-6
    coins = sampling.error((4096, 100), source).astype(int).ravel()
    inner = np.clip(coins, -12, 12)
    probability = stats.binom.pmf(np.arange(43), 42, 0.5)
    grouped = np.bincount(np.clip(np.arange(43) - 21, -12, 12) + 12, weights=probability)
    observed = np.bincount(inner + 12, minlength=25)
    assert stats.chisquare(observed, grouped / grouped.sum() * observed.sum()).pvalue > 1e-6
    assert np.abs(coins).max() <= parameters.MOST


@pytest.mark.parametrize("bits", [1, 31, 32, 33, 64, 72, 92, 96])
def test_smudging_noise_fills_exactly_its_bits(bits: int) -> None:
    limbs = sampling.uniform((4096, 1), bits, simulated("bits", bits)).astype(object)
    values = limbs[0] + limbs[1] * 2**32 + limbs[2] * 2**64
    assert values.max() < 2**bits and values.max() >= 2 ** (bits - 1)


def test_the_common_polynomial_follows_from_its_seed_alone() -> None:
    one, again, other = (sampling.common(SMALL, seed) for seed in (b"a", b"a", b"b"))
    assert np.array_equal(one, again) and not np.any(np.all(one == other, axis=1))
    assert np.array_equal(sampling.common(Ring(4096, 2), b"a"), one[:2])


# --- exactness --------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from([SMALL, Ring(4096, 3), LARGE]),
    st.integers(2, 4),
    st.sampled_from([1, 5, 4095, 4096, 4097, 9000, 65537]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=12, deadline=None)
def test_the_sum_opens_to_exactly_the_sum_of_all_vectors_mod_2_32(ring, parties, size, seed) -> None:
    random, source = np.random.default_rng(seed), simulated("exact", seed)
    vectors = [random.integers(0, 2**32, size, dtype=np.uint32) for _ in range(parties)]
    for vector in vectors:
        vector[: min(size, 2)] = (0, 2**32 - 1)[: min(size, 2)]
    secrets, key = keys(ring, parties, source)
    total = summed(key, vectors, source)
    expected = np.sum(vectors, axis=0, dtype=np.uint32)
    assert np.array_equal(threshold.combine(total.body, opened(secrets, total, parties, source)), expected)


def test_floats_come_out_within_the_quantisers_steps_and_what_overflows_is_refused() -> None:
    source, parties, size = simulated("floats"), 3, 5000
    codec = Quantiser(1.0, parties)
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (parties, size))
    secrets, key = keys(SMALL, parties, source)
    total = summed(key, [codec.encode(row, source) for row in x], source)
    found = codec.decode(threshold.combine(total.body, opened(secrets, total, parties, source)), parties)
    assert np.abs(found - x.sum(axis=0)).max() <= parties * codec.steps[0]
    with pytest.raises(ProtocolError, match="bound"):
        codec.encode(np.array([1.5]), source)


# --- secrecy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_without_one_share_of_the_key_what_was_encrypted_is_uniform_noise(missing: int) -> None:
    """All shares but one, the server's view and each part alone: upper bytes of 65,536 values against uniform by
    chi-square (seeds 0 to 2, false alarm 1e-6 each), whatever was encrypted; and the API refuses to open."""
    source, parties, size = simulated("secret", missing), 3, 65536
    secrets, key = keys(SMALL, parties, source)
    vectors = [np.full(size, 7, np.uint32)] * parties
    total = summed(key, vectors, source)
    parts = opened(secrets, total, parties, source)
    held = [part for number, part in enumerate(parts) if number != missing]
    with pytest.raises(threshold.NotOpened):
        threshold.combine(total.body, held)
    views = {"pooled": total.body + held[0] + held[1], "server": total.body}
    views |= {f"part {number}": part for number, part in enumerate(parts)}
    views |= {f"party {number}": total.body + part for number, part in enumerate(held)}
    one = threshold.encrypt(key, vectors[0], source)
    bits = parameters.smudging(SMALL, parties)
    pool = [threshold.partial(s, one.mask, size, bits, source) for i, s in enumerate(secrets) if i != missing]
    views["a single party's ciphertext, all other shares pooled"] = one.body + pool[0] + pool[1]
    for name, view in views.items():
        assert chi_square(view) > 1e-6, name
        agree = np.mean((view + np.uint64(2**31)) >> np.uint64(32) == 7)
        assert agree < 1e-3, name  # of 2^32 values each is as likely


def test_encrypting_the_same_vector_twice_gives_unrelated_ciphertexts() -> None:
    source = simulated("twice")
    _, key = keys(SMALL, 2, source)
    one, other = (threshold.encrypt(key, np.zeros(4096, np.uint32), source) for _ in range(2))
    assert not np.any(one.body == other.body) and np.mean(one.mask == other.mask) < 0.01


def test_keys_and_ciphertexts_show_no_values() -> None:
    source = simulated("repr")
    secrets, key = keys(SMALL, 2, source)
    sent = threshold.encrypt(key, np.arange(10, dtype=np.uint32), source)
    assert "array" not in repr(secrets[0]) + repr(key) + repr(sent)


# --- the noise budget -------------------------------------------------------------------------------------------------


def negacyclic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    n = len(x)
    full = np.rint(np.fft.irfft(np.fft.rfft(x, 2 * n) * np.fft.rfft(y, 2 * n), 2 * n))
    return full[:n] - full[n:]


def test_the_noise_of_honest_parties_stays_within_the_budget_for_up_to_a_thousand_parties() -> None:
    """By arithmetic for every number of parties; by measurement for five: no |v| beyond the bound that holds but for
    2^-64 (20,480 coefficients of seed 5), and its deviation as the arithmetic has it within 10 %."""
    for parties in range(2, 1001):
        ring = parameters.choose(parties, 10**5, 40.0)
        room, bits = ring.q >> 32, parameters.smudging(ring, parties)
        assert parameters.likely(ring, parties) < 2.0 * parameters.worst(ring, parties)
        assert parties * 2 ** (bits - 1) <= 3 * room // 8 and 16 * parameters.worst(ring, parties) <= room
        assert parameters.statistical(ring, parties, 10**5) >= 40.0
    source, parties, n = simulated("noise", 5), 5, 4096
    e = sampling.error((n, parties), source).astype(float).sum(axis=1)
    s = sampling.ternary((n, parties), source).astype(float).sum(axis=1)
    v = np.zeros(n)
    for _ in range(parties):
        u, e1, e2 = sampling.ternary((n, 1), source), sampling.error((n, 1), source), sampling.error((n, 1), source)
        v += negacyclic(e, u[:, 0].astype(float)) + e1[:, 0] + negacyclic(e2[:, 0].astype(float), s)
    assert np.abs(v).max() < parameters.likely(SMALL, parties) < parameters.worst(SMALL, parties)
    deviation = parties * math.sqrt(n * 2.0 * 2.0 / 3.0 * 10.5)
    assert 0.9 * deviation < v.std() < 1.1 * deviation


@pytest.mark.slow
def test_a_thousand_parties_open_the_exact_sum() -> None:
    source, parties, size = simulated("thousand"), 1000, 100
    ring = parameters.choose(parties, size, 40.0)
    secrets, key = keys(ring, parties, source)
    vectors = [np.random.default_rng(i).integers(0, 2**32, size, dtype=np.uint32) for i in range(parties)]
    total = summed(key, vectors, source)
    found = threshold.combine(total.body, opened(secrets, total, parties, source))
    assert np.array_equal(found, np.sum(vectors, axis=0, dtype=np.uint32))


def test_rings_are_as_small_as_the_smudging_allows_and_refused_where_none_is_enough() -> None:
    assert parameters.choose(10, 100_000, 40.0) == SMALL
    assert parameters.choose(1000, 10**7, 40.0).degree == 8192
    with pytest.raises(PlanError, match="lower `statistical`"):
        parameters.choose(1000, 10**9, 128.0)
    with pytest.raises(PlanError):
        parameters.smudging(SMALL, parameters.PARTIES + 1)
    with pytest.raises(PlanError):
        parameters.smudging(SMALL, 1)


# --- what is malformed ------------------------------------------------------------------------------------------------


def test_ciphertexts_keys_and_parts_of_another_shape_type_or_modulus_are_refused() -> None:
    source, size = simulated("bad"), 4100
    secrets, key = keys(SMALL, 2, source)
    good = threshold.encrypt(key, np.zeros(size, np.uint32), source)
    for body, mask in (
        (good.body[:-1], good.mask),
        (good.body, good.mask[:-1]),
        (good.body.astype(np.int64), good.mask),
        (good.body, good.mask.astype(np.uint64)),
        (good.body, np.full_like(good.mask, SMALL.moduli[0])),
    ):
        with pytest.raises(ProtocolError):
            threshold.add(threshold.zero(SMALL, size), threshold.Ciphertext(SMALL, body, mask))
    with pytest.raises(ProtocolError, match="ciphertext of"):
        threshold.add(threshold.zero(LARGE, size), good)
    beyond = good.mask.copy()
    beyond[-1] = SMALL.moduli[-1]
    with pytest.raises(ProtocolError, match="modulus"):
        threshold.partial(secrets[0], beyond, size, 70, source)
    with pytest.raises(ProtocolError, match="partial decryption"):
        threshold.combine(good.body, [good.body[:-1]])
    with pytest.raises(ProtocolError, match="uint32"):
        threshold.encrypt(key, np.zeros(3), source)
    share = threshold.generate(SMALL, b"seed", source)[1]
    for bad in (share[:2], share.astype(np.int64), np.full_like(share, 2**32 - 1)):
        with pytest.raises(ProtocolError, match="public key"):
            threshold.joint(SMALL, b"seed", [share, bad])
    with pytest.raises(ProtocolError, match="at least 2"):
        threshold.joint(SMALL, b"seed", [share])


def test_a_part_that_was_changed_or_belongs_to_another_sum_does_not_open() -> None:
    source, parties, size = simulated("changed"), 3, 4096
    secrets, key = keys(SMALL, parties, source)
    total, other = (summed(key, [np.zeros(size, np.uint32)] * 3, source) for _ in range(2))
    parts = opened(secrets, total, parties, source)
    with pytest.raises(threshold.NotOpened):
        threshold.combine(total.body, [*parts[:2], opened(secrets, other, parties, source)[2]])
    noisy = parts[0] + np.frombuffer(source.bytes(8 * size), np.uint64)
    with pytest.raises(threshold.NotOpened):
        threshold.combine(total.body, [noisy, *parts[1:]])


# --- fingerprints -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4097, 70000]))
@settings(max_examples=8, deadline=None)
def test_fingerprints_add_like_masks_and_tell_sums_from_anything_else(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    masks = []
    for _ in range(3):
        parts = [random.integers(0, p, 4096 * lanes) for _, lanes in SMALL.blocks(size) for p in SMALL.moduli]
        masks.append(np.concatenate(parts).astype(np.uint32))
    total = threshold.zero(SMALL, size).mask
    for mask in masks:
        threshold.add_masks(total, mask, SMALL, size)
    prints = np.stack([fingerprint(SMALL, mask, size, b"c") for mask in masks])
    assert prints.shape == (3, ROWS, SMALL.primes)
    assert np.array_equal(added(SMALL, prints), fingerprint(SMALL, total, size, b"c"))
    total[int(random.integers(len(total)))] ^= 1
    assert not np.array_equal(added(SMALL, prints), fingerprint(SMALL, total, size, b"c"))
