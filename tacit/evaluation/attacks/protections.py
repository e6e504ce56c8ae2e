"""The ladder of protections that every attack is tried against, and who the attacker is under each.

| protection | the attacker reads |
|---|---|
| nothing, clipping, local DP | what each client sends: the server does |
| central DP (server) | what each client sends: noise comes later, so the server itself is not held off |
| central DP (reader) | the sum with noise: somebody who has only the model or its updates |
| secure sum, homomorphic encryption | the sum: that is all the server can open, in the one as in the other |
| secure sum + DP | the sum with noise, of which each client added a share: nobody sees it without |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from tacit.core.plan import Plan
from tacit.core.protocols import Transform
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.laplace import Laplace
from tacit.privacy.transforms.local_gaussian import LocalGaussian
from tacit.privacy.transforms.local_laplace import LocalLaplace

EVERYBODY = 2**31  # parties whose shares make up the noise: as many as there are


@dataclass(frozen=True, slots=True)
class Protection:
    """What stands between a client and the attacker, put into a plan in place of the plan's own."""

    name: str = "nothing"
    protect: tuple[Transform, ...] = ()
    secure: bool = False  # through a secure sum
    reads: Literal["each", "sum"] = "each"
    same_as: str = ""  # another protection under which the attacker reads the same messages: measured once

    def on(self, plan: Plan, clients: int, cheap: bool = False) -> Plan:
        """The plan under this protection, all of so many clients in each round, reproducible.

        `cheap` leaves the secure sum out, where only its result counts: it is exact, and noise that is shared out
        inside it is then added to the sum in one piece.
        """
        shares = tuple(t for t in self.protect if isinstance(t, DistributedGaussian))
        protect: tuple[Transform, ...] = tuple(_fitted(t, clients, cheap) for t in self.protect)
        fewest = max([2, *(min(t.survivors_at_least, clients) for t in shares)])
        return replace(
            plan,
            protect=protect,
            secure_sum=SecAgg(minimum=fewest) if self.secure and not cheap else None,
            secure_between="clients",
            aggregator=None,
            cohort=0,
            sampling="fixed",
            dropout=0.0,
            select="last",
            simulation=True,
            baselines=(),
            also=(),
        )

    def noise(self, clients: int) -> float:
        """Standard deviation of the noise on each number of a sum of so many contributions; 0 where none is known."""
        for t in self.protect:
            if t.noisy:
                one = float(getattr(t, "noise_multiplier", 0.0)) * float(getattr(t, "clip_norm", t.bound or 0.0))
                one *= math.sqrt(2.0) if isinstance(t, Laplace | LocalLaplace) else 1.0  # stated by their scale
                share = clients / min(t.survivors_at_least, clients) if isinstance(t, DistributedGaussian) else 1.0
                return one * math.sqrt(clients if t.bound is None else share)  # local noise has no bound
        return 0.0


def _fitted(transform: Transform, clients: int, cheap: bool) -> Transform:
    """The transform for so many parties, or for none."""
    if not isinstance(transform, DistributedGaussian):
        return transform
    if cheap:
        return Gaussian(clip_norm=transform.clip_norm, noise_multiplier=transform.noise_multiplier)
    return replace(transform, survivors_at_least=min(transform.survivors_at_least, clients), colluding=0)


def ladder(clip: float = 1.0, noise: float = 1.0) -> tuple[Protection, ...]:
    """Every protection, at a clip norm and a noise multiplier."""
    bound, central = Clip(clip), Gaussian(clip_norm=clip, noise_multiplier=noise)
    local = LocalGaussian(clip_norm=clip, noise_multiplier=noise)
    shared = DistributedGaussian(clip_norm=clip, noise_multiplier=noise, survivors_at_least=EVERYBODY)
    return (
        Protection("nothing"),
        Protection("clipping", (bound,)),
        Protection("local DP", (bound, local)),
        Protection("central DP (server)", (central,), same_as="clipping"),
        Protection("central DP (reader)", (central,), reads="sum"),
        Protection("secure sum", (), secure=True, reads="sum"),
        Protection("homomorphic encryption", (), secure=True, reads="sum", same_as="secure sum"),
        Protection("secure sum + DP", (shared,), secure=True, reads="sum"),
    )


def of_plan(plan: Plan) -> Protection:
    """The plan's own protection. Without a secure sum, the server is taken to read each client's own message."""
    inside = any(hasattr(t, "share") for t in plan.protect)
    reads: Literal["each", "sum"] = "each" if plan.secure_sum is None and not inside else "sum"
    protect = tuple(_of_clients(t) for t in plan.protect)
    return Protection("this plan", protect, plan.secure_sum is not None, reads)


def _of_clients(transform: Transform) -> Transform:
    """Noise that hides single examples, as noise on clients of as large a bound: as much of it, whatever they learn."""
    examples = int(getattr(transform, "examples", 0))
    if not isinstance(transform, DistributedGaussian) or not examples:
        return transform
    clip, noise = transform.clip_norm * examples, transform.noise_multiplier / examples
    return replace(transform, clip_norm=clip, noise_multiplier=noise, examples=0)
