"""Random streams: secret when secure, reproducible when simulated, uniform in both cases."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from tacit.privacy.randomness import Stream, secure, simulated


def test_the_key_never_shows() -> None:
    key = bytes(range(65, 97))
    stream = Stream(key)
    for shown in (repr(stream), str(stream), f"{stream!r} {stream}", repr([stream]), repr({"s": stream})):
        assert "hidden" in shown
        assert key.decode() not in shown and key.hex() not in shown and repr(key) not in shown
    assert not hasattr(stream, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(stream)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused_without_showing_it(length: int) -> None:
    with pytest.raises(ValueError, match=rf"32 bytes, got {length}$"):
        Stream(bytes(length))


def test_secure_streams_differ_from_each_other() -> None:
    drawn = {secure().bytes(16) for _ in range(1000)}  # two alike by chance: 1.5e-33
    assert len(drawn) == 1000


def test_a_stream_goes_on_and_never_repeats_itself() -> None:
    stream = secure()
    blocks = stream.bytes(16 * 10_000)
    assert len({blocks[i : i + 16] for i in range(0, len(blocks), 16)}) == 10_000
    assert stream.bytes(16) not in blocks


def test_simulated_streams_are_the_same_for_the_same_parts_and_differ_for_others() -> None:
    assert simulated("noise", 1).bytes(64) == simulated("noise", 1).bytes(64)
    parts = [(), ("noise",), ("noise", 1), ("noise", 2), ("noise", "1"), ("noise1",), (("noise", 1),), ("cohort", 1)]
    assert len({simulated(*each).bytes(16) for each in parts}) == len(parts)


def test_the_stream_is_aes_256_in_counter_mode_from_its_beginning() -> None:
    """Golden: NIST SP 800-38A, F.5.5, has another first counter block; with a zero block AES-256 of it is known."""
    key = bytes.fromhex("00" * 32)
    stream = Stream(key)
    assert stream.bytes(16).hex() == "dc95c078a2408989ad48a21492842087"  # FIPS-197 AESAVS, zero key, zero block
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # the definition of counter mode
    assert stream.bytes(16) == block.update((1).to_bytes(16, "big"))


def test_pieces_of_any_size_are_the_same_stream() -> None:
    one, other = simulated("pieces"), simulated("pieces")
    assert b"".join(one.bytes(count) for count in (1, 0, 7, 16, 33, 100)) == other.bytes(157)


def test_uniform_values_are_uniform() -> None:
    """Kolmogorov-Smirnov and chi-square over 256 cells, 200,000 draws, seed fixed; false alarm 1e-7 each."""
    values = simulated("uniform", 0).uniform(200_000)
    assert values.dtype == np.float64 and values.shape == (200_000,)
    assert stats.kstest(values, "uniform").pvalue > 1e-7
    assert stats.chisquare(np.bincount((values * 256).astype(int), minlength=256)).pvalue > 1e-7


class _Constant(Stream):
    """A stream whose every byte is the same."""

    __slots__ = ("_byte",)

    def __init__(self, byte: int) -> None:
        super().__init__(bytes(32))
        self._byte = byte

    def bytes(self, count: int) -> bytes:  # type: ignore[valid-type]
        return bytes([self._byte]) * count  # type: ignore[misc]


@pytest.mark.parametrize("byte", [0, 255])
def test_uniform_values_stay_inside_the_open_interval_and_normal_ones_finite_at_both_ends(byte: int) -> None:
    values = _Constant(byte).uniform(4)
    assert np.all(values > 0.0) and np.all(values < 1.0)
    assert np.all(np.isfinite(_Constant(byte).normal(5)))


def test_normal_values_are_normal() -> None:
    """Kolmogorov-Smirnov, 200,000 draws, seed fixed; false alarm 1e-7. Moments within 5 standard errors."""
    values = simulated("normal", 0).normal(200_000)
    assert stats.kstest(values, "norm").pvalue > 1e-7
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(values**power) - mean) < 5.0 * math.sqrt(variance / 200_000)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_as_many_values_come_as_were_asked_for(count: int) -> None:
    stream = simulated("count")
    assert len(stream.bytes(count)) == len(stream.uniform(count)) == len(stream.normal(count)) == count
