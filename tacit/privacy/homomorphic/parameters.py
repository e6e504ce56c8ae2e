"""Which ring and how much smudging noise a sum needs: noise-budget arithmetic that the tests repeat by measurement.

A ciphertext of the sum over n parties decrypts to 2^32 q' m + v + smudging, where q' = q / 2^32 is the room of one
message. With u, s uniform ternary, e, e1, e2 centred binomial of 42 coins (deviation 3.24, as Microsoft SEAL's):

- v = sum_j (e u_j + e1_j + e2_j s), e = sum e_i, s = sum s_i. Never beyond `worst`; beyond `likely` in any coefficient
  with a chance of at most 2^-64 (a sub-Gaussian tail bound, given the lengths of e and s).
- Each party adds uniform smudging noise of `bits` bits to its partial decryption. The n of them stay within 3/8 of a
  message's room, v within 1/16: rounding is always right, and where it is not, somebody did not keep to the rules.
- Who sees a partial decryption beside the sum could have drawn it without the party's key, but for a statistical
  distance of at most values * likely / 2^bits (G. Asharov et al.: "Multiparty Computation with Low Communication,
  Computation and Interaction via Threshold FHE", EUROCRYPT 2012, https://eprint.iacr.org/2011/613; C. Mouchet et al.:
  "Multiparty Homomorphic Encryption from Ring-Learning-With-Errors", PETS 2021, https://eprint.iacr.org/2020/304).
"""

from __future__ import annotations

import math

from tacit.core.values import PlanError
from tacit.privacy.homomorphic.ring import BITS, SECURE, Ring

COINS = 42  # of a centred binomial error: its variance is a quarter of that
MOST = COINS // 2  # its largest absolute value
PARTIES = 4096  # more are refused: everybody receives everybody's key
_TAIL = math.sqrt(2.0 * 65.0 * math.log(2.0))  # deviations that a sub-Gaussian value exceeds with 2^-64
_WIDEST = 92  # bits of smudging noise that are ever drawn


def worst(ring: Ring, parties: int) -> int:
    """The largest |v| that can occur."""
    return parties * (2 * ring.degree * parties * MOST + MOST)


def likely(ring: Ring, parties: int) -> float:
    """A bound on |v| that holds for a coefficient but for 2^-64; the lengths of e and s are taken doubly."""
    keys = 2.0 * ring.degree * parties
    return _TAIL * math.sqrt(parties) * math.sqrt(keys * COINS / 4.0 + keys * 2.0 / 3.0 * COINS / 4.0 + COINS / 4.0)


def smudging(ring: Ring, parties: int) -> int:
    """Bits of the uniform noise on each partial decryption.

    Raises:
        PlanError: so many parties leave no room in this ring.
    """
    room = ring.q >> 32
    if not 2 <= parties <= PARTIES:
        raise PlanError(f"a homomorphic sum needs 2 to {PARTIES} parties, got {parties}")
    bits = min((3 * room // 8 // parties).bit_length(), _WIDEST)  # values within +-2^(bits - 1)
    if 16 * worst(ring, parties) > room or bits < 1:
        raise PlanError(f"{parties} parties leave no room for noise in a ring of {ring.primes} primes: use more primes")
    return bits


def statistical(ring: Ring, parties: int, size: int) -> float:
    """-log2 of the distance between a partial decryption of `size` values and one that knows no key."""
    values = ring.degree * ring.lanes(max(size, 1))
    return smudging(ring, parties) - math.log2(values * likely(ring, parties))


def choose(parties: int, size: int, needed: float) -> Ring:
    """The smallest ring with 128 bits of security whose smudging hides keys to `needed` bits.

    Raises:
        PlanError: there is none.
    """
    for degree, bits in SECURE.items():
        for primes in range(2, bits // BITS + 1):
            ring = Ring(degree, primes)
            try:
                if statistical(ring, parties, size) >= needed:
                    return ring
            except PlanError:
                continue
    raise PlanError(
        f"no ring hides the keys of {parties} parties to {needed:g} bits over {size} values: lower `statistical`, sum "
        "fewer values, or use the secure sum"
    )
