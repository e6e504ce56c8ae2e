"""Threshold encryption of integers mod 2^32 from ring learning with errors, n of n. Own code, unreviewed.

Z. Brakerski: "Fully Homomorphic Encryption without Modulus Switching from Classical GapSVP", CRYPTO 2012; J. Fan, F.
Vercauteren, https://eprint.iacr.org/2012/144 (together "BFV"); the multiparty key of Mouchet et al., PETS 2021,
https://eprint.iacr.org/2020/304: with a common public a, party i publishes b_i = -a s_i + e_i, and the b_i add up to
the public key of s = sum s_i, which nobody ever holds. Additions only, so there are no evaluation keys.

Differs from the papers: one value per coefficient, without batching; the first half of a ciphertext and partial
decryptions are rounded to 64 bits of the fraction x / q (what is below moves a message of 32 bits by 2^-30 at most),
which makes them 8 bytes a value and adding up free of residues.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.homomorphic import kernels
from tacit.privacy.homomorphic.ring import Ring, Tables, beside, restore, tables, transform
from tacit.privacy.homomorphic.sampling import common, error, ternary, uniform
from tacit.privacy.secure_sum.entropy import RandomBytes

_HALF = np.uint64(2**31)
_SLACK = np.uint64(2**28)  # 1/16 of a message's room
_STRETCH = 1 << 16  # values rounded at a time


class NotOpened(ProtocolError):
    """The partial decryptions do not fit the ciphertext: one is missing, of another sum, or was changed."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Secret:
    """One party's share of the secret key."""

    ring: Ring
    s: Array  # (primes, 2, N) uint32, transformed


@dataclass(frozen=True, slots=True, eq=False)
class PublicKey:
    """A key that anybody may encrypt under."""

    ring: Ring
    a: Array  # (primes, 2, N) uint32, transformed
    b: Array  # (primes, 2, N) uint32, transformed

    def __repr__(self) -> str:
        return f"PublicKey({self.ring!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Ciphertext:
    """(size,) integers mod 2^32, encrypted: noise to whoever lacks a single share of the key."""

    ring: Ring
    body: Array  # (size,) uint64: fractions of q
    mask: Array  # (words,) uint32: by block of polynomials (primes, N, lanes), transformed

    def __repr__(self) -> str:
        return f"Ciphertext({len(self.body)} values, {self.body.nbytes + self.mask.nbytes} bytes)"


def _transformed(small: Array, at: Tables, row: int) -> Array:
    out = np.empty(small.shape, np.uint32)
    p = int(at.p[row])
    kernels.residues(small, out, p)
    transform(out, at.forward[row], p)
    return out


def generate(ring: Ring, seed: bytes, source: RandomBytes) -> tuple[Secret, Array]:
    """A party's share of the secret key, and (primes, N) uint32 to publish: its share b_i of the public key.

    Args:
        ring: the same for all parties.
        seed: names the common polynomial, the same for all parties; public.
        source: unpredictable.
    """
    at, a = tables(ring), common(ring, seed)
    small, noise = ternary((ring.degree, 1), source), error((ring.degree, 1), source)
    secret, public = np.empty((ring.primes, 2, ring.degree), np.uint32), np.empty_like(a)
    for row, p in enumerate(ring.moduli):
        s = _transformed(small, at, row)
        secret[row] = beside(s[:, 0], p)
        product = np.empty_like(s)
        kernels.product(s, beside(a[row], p), p, product)
        e = _transformed(noise, at, row)[:, 0].astype(np.int64)
        public[row] = (e - product[:, 0]) % p
    return Secret(ring, secret), public


def checked_key(ring: Ring, share: Array) -> Array:
    """A share of a public key, whose shape and residues must be those of the ring.

    Raises:
        ProtocolError: they are not.
    """
    shape = (ring.primes, ring.degree)
    if share.shape != shape or share.dtype != np.uint32 or np.any(share >= np.array(ring.moduli, np.uint32)[:, None]):
        raise ProtocolError(f"a share of the public key must be uint32 {shape}, each residue below its prime")
    return share


def joint(ring: Ring, seed: bytes, shares: list[Array]) -> PublicKey:
    """The public key under which only the owners of all shares together can decrypt.

    A share that was chosen after the others were seen can cancel them: whoever calls this must know that all were
    committed to beforehand (see `client`).

    Raises:
        ProtocolError: fewer than two shares, or one that is no element of the ring.
    """
    if len(shares) < 2:
        raise ProtocolError(f"a joint key needs the shares of at least 2 parties, got {len(shares)}")
    total = np.zeros((ring.primes, ring.degree), np.uint64)
    for share in shares:
        total += checked_key(ring, share)
    a = common(ring, seed)
    both = [
        np.stack([beside(row % np.uint64(p), p) for row, p in zip(part, ring.moduli, strict=True)])
        for part in (a.astype(np.uint64), total)
    ]
    return PublicKey(ring, both[0], both[1])


def encrypt(key: PublicKey, values: Array, source: RandomBytes) -> Ciphertext:
    """(size,) uint32, encrypted; about 60 random bits a value from `source`.

    Raises:
        ProtocolError: not (size,) uint32.
    """
    if values.ndim != 1 or values.dtype != np.uint32:
        raise ProtocolError(f"integers mod 2^32 are needed as uint32 (d,), got {values.dtype} {values.shape}")
    ring, at = key.ring, tables(key.ring)
    body, mask = np.empty(len(values), np.uint64), np.empty(ring.words(len(values)), np.uint32)
    low = 0
    for chosen, lanes in ring.blocks(len(values)):
        shape = (ring.degree, lanes)
        u, e1, e2 = ternary(shape, source), error(shape, source), error(shape, source)
        fractions = values[chosen].astype(np.uint64) << np.uint64(32)
        for row, p in enumerate(ring.moduli):
            one = _transformed(u, at, row)
            out = mask[low : low + one.size].reshape(shape)
            low += one.size
            kernels.product(one, key.a[row], p, out)
            kernels.add_residues(out, _transformed(e2, at, row), p)
            kernels.product(one, key.b[row], p, one)
            restore(one, at.backward[row], at.shrink[row], p)
            noise = np.empty(shape, np.uint32)
            kernels.residues(e1, noise, p)
            kernels.add_residues(one, noise, p)
            kernels.fractions(one, p, at.lift[row], at.share[row], fractions)
        body[chosen] = fractions
    return Ciphertext(ring, body, mask)


def checked(found: Ciphertext, ring: Ring, size: int) -> Ciphertext:
    """A ciphertext from outside, of this ring and length.

    Raises:
        ProtocolError: another ring, length or type, or a residue that is not below its prime.
    """
    if found.ring != ring:
        raise ProtocolError(f"a ciphertext of {ring} is needed, got one of {found.ring}")
    if found.body.shape != (size,) or found.body.dtype != np.uint64:
        raise ProtocolError(f"a ciphertext's body must be uint64 ({size},), got {found.body.dtype} {found.body.shape}")
    checked_mask(found.mask, ring, size)
    return found


def checked_mask(mask: Array, ring: Ring, size: int) -> Array:
    """The second half of a ciphertext from outside.

    Raises:
        ProtocolError: another length or type, or a residue that is not below its prime.
    """
    words = ring.words(size)
    if mask.shape != (words,) or mask.dtype != np.uint32:
        raise ProtocolError(f"a ciphertext's mask must be uint32 ({words},), got {mask.dtype} {mask.shape}")
    for _, part, p in _parts(mask, ring, size):
        if part.max() >= p:
            raise ProtocolError(f"a ciphertext holds a residue that is not below its prime {p}: another modulus?")
    return mask


def _parts(mask: Array, ring: Ring, size: int) -> list[tuple[slice, Array, int]]:
    """(values, residues (N, lanes), prime) of each block and prime of a mask."""
    out, low = [], 0
    for chosen, lanes in ring.blocks(size):
        for p in ring.moduli:
            high = low + ring.degree * lanes
            out.append((chosen, mask[low:high].reshape(ring.degree, lanes), p))
            low = high
    return out


def add(total: Ciphertext, other: Ciphertext) -> None:
    """Total += other, in place.

    Raises:
        ProtocolError: of another ring or length, or malformed.
    """
    checked(other, total.ring, len(total.body))
    np.add(total.body, other.body, out=total.body)
    add_masks(total.mask, other.mask, total.ring, len(total.body))


def add_masks(total: Array, other: Array, ring: Ring, size: int) -> None:
    """Total += other in place, for checked masks of ciphertexts of `size` values."""
    for (_, x, p), (_, y, _) in zip(_parts(total, ring, size), _parts(other, ring, size), strict=True):
        kernels.add_residues(x, y, p)


def zero(ring: Ring, size: int) -> Ciphertext:
    """What sums begin with."""
    return Ciphertext(ring, np.zeros(size, np.uint64), np.zeros(ring.words(size), np.uint32))


def partial(secret: Secret, mask: Array, size: int, bits: int, source: RandomBytes) -> Array:
    """(size,) uint64: one party's part in opening a sum, under uniform smudging noise of `bits` bits.

    Args:
        secret: the party's share; it must open one mask only.
        mask: of the summed ciphertext, checked to be the sum of what all parties encrypted.
        size: how many values it holds.
        bits: see `parameters.smudging`.
        source: unpredictable.

    Raises:
        ProtocolError: a mask of another length, or with residues beyond the primes.
    """
    ring, at = secret.ring, tables(secret.ring)
    checked_mask(mask, ring, size)
    out = np.zeros(size, np.uint64)
    noise = np.zeros((3, 0, 0), np.uint32)
    half = 2 ** (bits - 1)
    for number, (chosen, part, p) in enumerate(_parts(mask, ring, size)):
        row = number % ring.primes
        if row == 0:
            noise = uniform((part.shape[0], part.shape[1]), bits, source)
        one = np.empty_like(part)
        kernels.product(part, secret.s[row], p, one)
        restore(one, at.backward[row], at.shrink[row], p)
        kernels.smudge(one, noise, half % p, at.limbs[row], p)
        kernels.fractions(one, p, at.lift[row], at.share[row], out[chosen])
    return out


def combine(body: Array, partials: list[Array]) -> Array:
    """(size,) uint32: the sum mod 2^32 of what was encrypted.

    Args:
        body: (size,) uint64, of the summed ciphertext.
        partials: of every party whose share is in the key.

    Raises:
        ProtocolError: a partial decryption of another length or type.
        NotOpened: they do not fit: noise within 7/16 of a message's room was promised, and there is more.
    """
    total = body.copy()
    for part in partials:
        if part.shape != body.shape or part.dtype != np.uint64:
            raise ProtocolError(f"a partial decryption must be uint64 {body.shape}, got {part.dtype} {part.shape}")
        total += part
    return rounded(total)


def rounded(total: Array) -> Array:
    """(size,) uint32 of bodies and partial decryptions added up.

    Raises:
        NotOpened: there is more noise than honest parties make.
    """
    out = np.empty(len(total), np.uint32)
    for low in range(0, len(total), _STRETCH):
        part = total[low : low + _STRETCH] + _HALF
        rest = part & np.uint64(2**32 - 1)  # of a value without noise: a half
        if np.any((rest < _SLACK) | (rest > np.uint64(2**32) - _SLACK)):
            raise NotOpened("the parts do not open this sum: one is missing, of another sum, or was changed")
        out[low : low + _STRETCH] = part >> np.uint64(32)
    return out
