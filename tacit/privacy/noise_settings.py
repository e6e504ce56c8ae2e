"""The settings that every mechanism of clipped contributions has: checked once, in the mechanism's own name."""

from __future__ import annotations

import math
from typing import Protocol


class Settings(Protocol):
    """A noise multiplier, or a target epsilon that becomes one."""

    @property
    def clip_norm(self) -> float: ...  # noqa: D102
    @property
    def noise_multiplier(self) -> float: ...  # noqa: D102
    @property
    def epsilon(self) -> float: ...  # noqa: D102
    @property
    def delta(self) -> float: ...  # noqa: D102


def check(mechanism: Settings, pure: bool = False) -> None:
    """Refuse settings that could not protect; `pure` mechanisms need no delta.

    Raises:
        ValueError: clip_norm is not above 0, neither or both of noise_multiplier and epsilon are given, delta is no
            probability; or one of them is not finite.
    """
    name = type(mechanism).__name__
    if not mechanism.clip_norm > 0.0 or not math.isfinite(mechanism.clip_norm):
        raise ValueError(f"{name} needs a finite clip_norm > 0, got {mechanism.clip_norm}")
    noise, epsilon = mechanism.noise_multiplier, mechanism.epsilon
    noisy = noise > 0.0 and math.isfinite(noise) and epsilon == 0.0
    if not noisy and not (noise == 0.0 and 0.0 < epsilon < math.inf):
        raise ValueError(
            f"{name} needs either a finite noise_multiplier > 0, or noise_multiplier = 0 and a finite epsilon > 0, got "
            f"noise_multiplier={noise}, epsilon={epsilon}"
        )
    if not 0.0 < mechanism.delta < 1.0 and not (pure and mechanism.delta == 0.0):
        raise ValueError(f"{name} needs 0 {'<=' if pure else '<'} delta < 1, got {mechanism.delta}")
