"""Which transforms may follow which: compression before noise, memory first, places of values never by accident."""

from __future__ import annotations

from collections.abc import Sequence

from tacit.core.protocols import Adaptive, Remembering, Transform


def compresses(transform: Transform) -> bool:
    """Whether a transform only shortens or rounds what a client sends: no noise, memory or state of its own."""
    stateless = not isinstance(transform, Adaptive | Remembering)
    return transform.per_client and transform.lossy and not transform.noisy and stateless


def refuses(transforms: Sequence[Transform], secure: bool) -> str | None:
    """Why these transforms may not stand in this order, with or without a secure sum; or None."""
    for index, transform in enumerate(transforms):
        later = [t for t in transforms[index + 1 :] if t.per_client]
        before = [t for t in transforms[:index] if t.per_client]
        if not secure and not getattr(transform, "reveals_support", True):
            return (
                f"{transform!r} sends the places of each client's largest values in the clear, and these are the items "
                "of its history. Put a secure_sum beside it, use LowRank or RandomK, or accept it by "
                "reveals_support = true."
            )
        if transform.noisy and transform.bound is not None and later:
            return (
                f"{later[0]!r} stands after {transform!r}: its decoding would stretch what that has bounded, so the "
                "noise would be too small. Compress first, put the noise last in `protect`."
            )
        if transform.noisy and hasattr(transform, "grid") and index + 1 < len(transforms):
            return (
                f"{transform!r} adds its noise in steps of the grid that contributions were rounded to, which "
                f"{transforms[index + 1]!r} would take them off: put it last in `protect`."
            )
        if isinstance(transform, Remembering) and before:
            return f"{transform!r} remembers whole contributions: it must stand before {before[0]!r} in `protect`"
        if hasattr(getattr(transform, "compress", transform), "grid") and later:
            return (
                f"{later[0]!r} would move values off the few points that {transform!r} rounds to, so that no bits "
                "would be saved: round last."
            )
    return None
