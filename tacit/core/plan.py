"""A plan is a value: it prints, hashes, reads from and writes to TOML, and refuses contradictions."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from tacit.core.order import refuses
from tacit.core.protocols import (
    Aggregator,
    Algorithm,
    Choice,
    Model,
    Partition,
    SecureSum,
    Shared,
    Source,
    Statistics,
    Trainer,
    Transform,
)
from tacit.core.toml import dumps
from tacit.core.values import PlanError

SAMPLING = ("fixed", "poisson", "cyclic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that parties must agree on to train one model, and what to compare it with.

    Raises:
        PlanError: two parts contradict each other; the message names both and a way out.
    """

    name: str = "federated"  # the key of this training in the report
    data: Source
    clients: Partition  # who is a client, and which node hosts it
    model: Model
    algorithm: Algorithm
    rounds: int = 10
    cohort: int = 0  # expected clients per round; 0 = all of them
    sampling: str = "fixed"  # "fixed" size, "poisson": every client by its own coin, or "cyclic": in turn
    protect: tuple[Transform, ...] = ()  # clients encode in order, the server decodes in reverse order
    aggregator: Aggregator | None = None  # None = the sum
    secure_sum: SecureSum | None = None  # None = the server sees each node's sum
    secure_between: str = "clients"  # or "nodes": each node adds up its own clients first
    quantise_bound: float = 1.0  # largest value of a contribution under a secure sum, where neither clip nor model says
    trainer: Trainer | None = None  # None = the fastest that serves the work
    seed: int = 0  # of initial values, batches and negatives; of cohorts and noise only under `simulation`
    simulation: bool = False  # True = cohorts, noise and masks are drawn from the seed: reproducible, protects nobody
    dropout: float = 0.0  # simulated share of a cohort that vanishes after sharing keys; 0 between real parties
    select: str = "last"  # which round's model is kept: "last", or "best" on validation
    validation: bool = True  # hold each customer's last training item out, to watch and choose rounds by
    split_seed: int = 0  # of what is held out and of evaluation negatives
    draws: int = 5  # draws of 99 evaluation negatives, whose metrics are averaged
    folds: int = 0  # tabular data without a published split: cross-validation folds; 0 = one hold-out
    baselines: tuple[Model, ...] = ()  # models to show beside it, learned without protection
    tradeoff: tuple[float, ...] = ()  # epsilons to train it at as well, in simulation: quality by epsilon in the report
    choose: Choice | None = None  # name the best of the trainings with noise by validation items, paid from the budget
    also: tuple[Plan, ...] = ()  # further trainings on the same data, each named

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_parts()
        self._check_protection()
        names = [self.name, *(other.name for other in self.also)]
        if len(set(names)) != len(names):
            raise PlanError(f"every training of a plan needs its own name, got {names}")
        for other in self.also:
            if other.also:
                raise PlanError(f"{other.name!r} stands under `also`, so it cannot have an `also` of its own")
            if (other.data, other.clients) != (self.data, self.clients):
                raise PlanError(f"{other.name!r} must use the data and clients of {self.name!r}, so that they compare")
        if self.choose is not None:
            self._check_choice()

    def _check_choice(self) -> None:
        if len(self.candidates) < 2:
            raise PlanError(
                f"{self.choose!r} names one of several trainings with noise, and the plan has {len(self.candidates)}: "
                "put others under `also`, or leave `choose` out"
            )
        for each in self.candidates:
            if not each.validation or not hasattr(each.model, "scores") or hasattr(each.model, "probabilities"):
                raise PlanError(
                    f"{self.choose!r} compares rankings of validation items, and {each.name!r} has none: it needs a "
                    "model that ranks items, and validation = true"
                )
            if each.split_seed != self.split_seed:
                raise PlanError(f"{each.name!r} holds out other items than {self.name!r}: give them one split_seed")

    def _check_numbers(self) -> None:
        if self.rounds < 1:
            raise PlanError(f"rounds must be at least 1, got {self.rounds}")
        if self.cohort < 0:
            raise PlanError(f"cohort must be 0 (everyone) or a number of clients, got {self.cohort}")
        if self.sampling not in SAMPLING:
            raise PlanError(f"sampling must be one of {SAMPLING}, got {self.sampling!r}")
        if self.sampling == "poisson" and self.cohort == 0:
            raise PlanError("Poisson sampling needs cohort = the expected number of clients per round, got 0")
        if self.sampling == "cyclic" and self.cohort == 0:
            raise PlanError("cyclic cohorts need cohort = the largest number of clients per round, got 0")
        if not 0.0 <= self.dropout < 1.0:
            raise PlanError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.secure_between not in ("clients", "nodes"):
            raise PlanError(f"secure_between must be 'clients' or 'nodes', got {self.secure_between!r}")
        if not self.quantise_bound > 0.0:
            raise PlanError(f"quantise_bound must be above 0, got {self.quantise_bound}")
        if self.draws < 1 or self.folds < 0 or self.folds == 1:
            raise PlanError(f"draws must be at least 1 and folds 0 or at least 2, got {self.draws} and {self.folds}")
        if self.select not in ("last", "best"):
            raise PlanError(f"select must be 'last' or 'best', got {self.select!r}")
        if not all(0.0 < epsilon < math.inf for epsilon in self.tradeoff):
            raise PlanError(f"tradeoff must list epsilons above 0, got {list(self.tradeoff)}")

    def _check_parts(self) -> None:
        if self.model.serves != self.data.gives:
            raise PlanError(
                f"{type(self.model).__name__} learns from {self.model.serves}, but {type(self.data).__name__} gives "
                f"{self.data.gives}. Choose another model or other data."
            )
        for baseline in self.baselines:
            if baseline.serves != self.data.gives:
                raise PlanError(f"baseline {baseline!r} learns from {baseline.serves}, the data give {self.data.gives}")
        if (why := self.algorithm.refuses(self.model)) is not None:
            raise PlanError(why)
        if self.trainer is not None:
            for round in (1, self.rounds):
                if (why := self.trainer.refuses(self.algorithm.work(self.model, round))) is not None:
                    raise PlanError(why)

    def _check_protection(self) -> None:
        each = self.aggregator is not None and self.aggregator.sees == "each"
        if self.secure_sum is not None and each and self.groups < 2:
            raise PlanError(
                f"{self.aggregator!r} needs each client's update, but a secure sum shows the server only the sum. "
                "Use an aggregator that sees the sum, set groups in secure_sum to compare groups' sums, or drop it."
            )
        by_client = self.secure_between == "clients"
        if self.secure_sum is not None and by_client and 0 < self.cohort < self.minimum * self.groups:
            each_group = f" in each of {self.groups} groups" if self.groups > 1 else ""
            raise PlanError(
                f"the secure sum opens no fewer than {self.minimum} contributions{each_group}, but the cohort is "
                f"{self.cohort}. Raise the cohort or lower the minimum."
            )
        if self.groups > 1 and not each:
            raise PlanError(
                f"{self.secure_sum!r} opens a sum for each of {self.groups} groups, which only serves an aggregator "
                "that compares them (Median). Set one, or groups = 1."
            )
        for round in (1, self.rounds):
            work = self.algorithm.work(self.model, round)
            summed = getattr(work, "model", work)
            if isinstance(work, Statistics) and getattr(summed, "limbs", None) and (self.protect or each):
                raise PlanError(
                    f"{summed!r} sends numbers cut into limbs, which only an exact sum puts together again, but "
                    f"{self.protect[0] if self.protect else self.aggregator!r} would change them. "
                    "Use an algorithm of gradient steps without standardisation, or drop the protection."
                )
        noisy = [t for t in self.protect if t.noisy]
        if noisy and each:
            raise PlanError(
                f"{noisy[0]!r} is calibrated to the sensitivity of a sum, but {self.aggregator!r} does not sum. "
                "Aggregate by a sum, or drop the noise."
            )
        for index, transform in enumerate(self.protect):
            if transform.noisy and not any(t.bound is not None for t in self.protect[: index + 1]):
                raise PlanError(f"{transform!r} needs a bounded contribution: put a Clip before it in `protect`")
        for index, transform in enumerate(self.protect):
            if transform.bound is None and not transform.per_client:
                raise PlanError(
                    f"{transform!r} changes a contribution without bounding it, so each client's own must be encoded: "
                    "its per_client must be true"
                )
            if isinstance(transform, Shared) and self.secure_sum is None:
                raise PlanError(
                    f"{transform!r} has every client add a share of the noise, which hides nobody before the shares "
                    "are added: put a secure_sum beside it"
                )
            clip, mine = getattr(self.algorithm, "example_clip", None), float(getattr(transform, "clip_norm", 0.0))
            if getattr(transform, "unit", None) == "example" and (clip is None or clip > mine):
                raise PlanError(
                    f"{transform!r} protects single examples, so the algorithm must clip each of them to clip_norm: "
                    f"{self.algorithm!r} clips them to {clip}. Use ExampleSGD, or examples = 0 to protect clients."
                )
            if isinstance(transform, Shared) and index + 1 < len(self.protect):
                raise PlanError(f"{transform!r} adds its noise to what is summed: it must be the last of `protect`")
        if (why := refuses(self.protect, self.secure_sum is not None)) is not None:
            raise PlanError(why)
        survive = max((int(getattr(t, "survivors_at_least", 0)) for t in self.protect), default=0)
        if self.secure_sum is not None and survive > self.minimum:
            raise PlanError(
                f"noise is shared out so that {survive} survivors bring enough of it, but the secure sum opens from "
                f"{self.minimum} on: raise its minimum to {survive}"
            )
        provable = getattr(self.secure_sum, "refuses", None)
        if provable is not None and (why := provable(self.protect)) is not None:
            raise PlanError(why)
        if self.per_client and self.secure_sum is not None and self.secure_between == "nodes":
            raise PlanError(
                f"{next(t for t in self.protect if t.per_client)!r} encodes each client's own contribution, but "
                "secure_between = 'nodes' adds clients up first: set it to 'clients'"
            )
        how = self.sampling if self.cohort else "all"
        for transform in noisy:
            if how not in (known := getattr(transform, "cohorts", ("all", "fixed", "poisson"))):
                raise PlanError(
                    f"{transform!r} is not accounted for {how} cohorts, only for {' and '.join(known)}: change "
                    "`sampling` (all: cohort = 0), or take MatrixGaussian for cyclic cohorts and Gaussian for others"
                )
        if len(noisy) > 1:
            raise PlanError("one plan may hold one noise mechanism; split other releases into trainings of their own")
        if self.select == "best" and not hasattr(self.model, "scores"):
            raise PlanError(f"select = 'best' chooses by ranking validation items, but {self.model!r} does not rank")
        if self.select == "best" and not self.validation:
            raise PlanError("select = 'best' chooses by validation items, but validation = false holds none out")
        if noisy and self.select == "best":
            raise PlanError(
                "select = 'best' reads customers' validation items, which spends privacy that nobody counted. "
                "A plan with noise keeps its last round: set select = 'last'."
            )
        if noisy and self.algorithm.weighting != "uniform":
            raise PlanError(
                f"{self.algorithm!r} weighs clients by rows, but client-level noise is calibrated to equal weights. "
                "Set weighting = 'uniform'."
            )

    @property
    def clip_norm(self) -> float | None:
        """L2 bound of one client's contribution, if the plan sets one."""
        bounds = [t.bound for t in self.protect if t.bound is not None]
        return min(bounds) if bounds else None

    @property
    def minimum(self) -> int:
        """Fewest contributions that may be opened together: as the secure sum says, else 20 customers or 3 nodes."""
        if self.secure_sum is None:
            return 1
        return self.secure_sum.minimum or (3 if self.secure_between == "nodes" else 20)

    @property
    def groups(self) -> int:
        """Sums that a round opens, where the secure sum cuts it into groups for a robust aggregator."""
        return int(getattr(self.secure_sum, "groups", 1))

    @property
    def per_client(self) -> bool:
        """Whether every client's contribution must be encoded before any are added."""
        return any(transform.per_client for transform in self.protect)

    @property
    def candidates(self) -> tuple[Plan, ...]:
        """The trainings that `choose` chooses from: those with noise."""
        return tuple(each for each in (self, *self.also) if each.noise is not None)

    @property
    def noise(self) -> Transform | None:
        """The noise mechanism, if there is one."""
        return next((t for t in self.protect if t.noisy), None)

    def toml(self) -> str:
        """Canonical TOML: what `tacit run` reads, and what the digest is taken of."""
        return dumps(self)

    def digest(self) -> str:
        """SHA-256 of the canonical TOML, in hex; goes with every request and into the ledger."""
        return hashlib.sha256(self.toml().encode()).hexdigest()
