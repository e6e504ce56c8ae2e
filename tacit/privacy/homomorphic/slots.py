"""Integers mod 2^32 laid end to end over the wider slots of a BFV ciphertext, so that no sum of parties ever carries.

A slot holds an integer mod a prime above 2^50. A value takes 32 bits and a guard into which the sum over the parties
grows; values lie end to end, cut where a slot is full, and a slot keeps such a guard free above what is cut. The sum of
slots, carried from each into the next, is then the sum of values, each in its own bits: exact mod 2^32 for any values.
"""

from __future__ import annotations

import numba
import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.homomorphic.bfv_worker import MODULUS

WIDTH = 50  # bits of a slot: 2^50 is below the modulus


def guard(parties: int) -> int:
    """Bits into which a sum of so many numbers grows, and half a bit or more to notice one that is none."""
    return parties.bit_length()


def count(size: int, parties: int) -> int:
    """How many slots hold `size` values."""
    return -(-size * (32 + guard(parties)) // (WIDTH - guard(parties)))


@numba.njit(cache=True)
def _pack(values: Array, field: int, room: int, modulus: int, out: Array) -> None:  # pragma: no cover
    """Slots as -modulus / 2 to modulus / 2, which is how OpenFHE takes them."""
    slot, have, place = 0, 0, 0
    for value in values:
        rest, left = int(value), field
        while left > 0:
            taken = min(room - have, left)
            slot |= (rest & ((1 << taken) - 1)) << have
            rest >>= taken
            left -= taken
            have += taken
            if have == room:
                out[place] = slot - modulus if slot > modulus // 2 else slot
                slot, have, place = 0, 0, place + 1
    if have > 0:
        out[place] = slot - modulus if slot > modulus // 2 else slot


@numba.njit(cache=True)
def _unpack(slots: Array, field: int, room: int, modulus: int, most: int, out: Array) -> bool:  # pragma: no cover
    """Whether the slots hold sums of values and nothing besides."""
    low, here, have, place = (1 << room) - 1, 0, 0, 0
    carry = 0
    for i in range(out.shape[0]):
        value, filled = 0, 0
        while filled < field:
            if have == 0:
                slot = slots[place] + (modulus if slots[place] < 0 else 0)
                if slot < 0 or slot >= modulus:
                    return False
                slot += carry
                here, carry, have, place = slot & low, slot >> room, room, place + 1
            taken = min(have, field - filled)
            value |= (here & ((1 << taken) - 1)) << filled
            here >>= taken
            filled += taken
            have -= taken
        if value > most:
            return False
        out[i] = np.uint32(value & 0xFFFFFFFF)
    return bool(here == 0 and carry == 0)


def pack(values: Array, parties: int) -> Array:
    """(count,) int64 slots of (size,) uint32, of which so many are going to be summed."""
    out = np.zeros(count(len(values), parties), np.int64)
    _pack(values, 32 + guard(parties), WIDTH - guard(parties), MODULUS, out)
    return out


def unpack(slots: Array, size: int, parties: int) -> Array:
    """(size,) uint32: the sum mod 2^32 of what so many parties packed.

    Raises:
        ProtocolError: another number of slots, or what no sum of so many could be.
    """
    if slots.shape != (count(size, parties),) or slots.dtype != np.int64:
        raise ProtocolError(f"{count(size, parties)} slots of int64 were needed, got {slots.dtype} {slots.shape}")
    out = np.empty(size, np.uint32)
    if not _unpack(slots, 32 + guard(parties), WIDTH - guard(parties), MODULUS, parties * (2**32 - 1), out):
        raise ProtocolError("the parts do not open this sum: one is missing, of another sum, or was changed")
    return out
