"""Numbers as a reader wants them: fixed places, units, a dash where there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST = 1e18  # what is larger is no figure of a run

NONE = "–"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> float | None:
    """The value as a finite float, or None: reports hold null where a figure is undefined."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        return None
    return float(value)


def clean(value: Any) -> Any:
    """The same report, with a mark in place of every character that no page may hold, and all keys as text."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(part) for key, part in value.items()}
    return [clean(part) for part in value] if isinstance(value, list | tuple) else value


def share(value: Any) -> str:
    """A metric between 0 and 1, in three places."""
    found = number(value)
    return NONE if found is None else f"{found:.3f}".replace("-", "−")


def span(low: Any, high: Any) -> str:
    """An interval: 0.612–0.671, or −0.004 to 0.012; empty where an end is missing."""
    ends = number(low), number(high)
    if ends[0] is None or ends[1] is None:
        return ""
    return f"{share(low)}{' to ' if ends[0] < 0 else '–'}{share(high)}"


def count(value: Any) -> str:
    """A whole number with its thousands set apart; other numbers in three places at most."""
    found = number(value)
    if found is None:
        return NONE
    return f"{found:,.0f}" if found == round(found) else f"{found:,.4g}"


def epsilon(value: Any) -> str:
    """A privacy budget: two places, none from 100 upwards."""
    found = number(value)
    return NONE if found is None else f"{found:.2f}" if found < 100 else f"{found:,.0f}"


def scientific(value: Any) -> str:
    """A small probability: 10⁻⁵, 2.3 × 10⁻⁶."""
    found = number(value)
    if found is None or found <= 0:
        return NONE if found is None else f"{found:g}"
    mantissa, exponent = f"{found:.1e}".split("e")
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')} × {power}"


def size(value: Any) -> str:
    """Bytes in units of 1,000: 212 kB."""
    found = number(value)
    if found is None:
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if found < 999.5:
            return f"{found:.3g} {unit}"
        found /= 1000
    return f"{found:,.4g} TB"


def duration(value: Any) -> str:
    """Seconds: 8.4 s, 3 min 12 s, 2 h 5 min."""
    found = number(value)
    if found is None:
        return NONE
    if found < 100:
        return f"{found:.3g} s"
    if found < 6000:
        return f"{round(found) // 60} min {round(found) % 60} s"
    return f"{round(found) // 3600:,} h {round(found) % 3600 // 60} min"
