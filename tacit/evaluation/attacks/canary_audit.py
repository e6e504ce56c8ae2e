"""An empirical lower bound on epsilon, from one training with canary clients on the real path.

Each of `canaries` vectors joins the training by a fair coin (T. Steinke et al., NeurIPS 2023,
https://arxiv.org/abs/2305.08846); whether it did is guessed from the sums that the server decoded in all rounds, noise
included (G. Andrew et al., ICLR 2024, https://arxiv.org/abs/2302.03098: canary clients take part as everybody does, and
are looked for in the released updates). What is claimed must not lie below the bound: if it does, some part of clip,
noise, sum, sampling and accounting is broken.
Differs from Andrew et al.: canaries that stayed out are the null, not fresh vectors; and the bound holds at a stated
confidence, where theirs is an estimate. Who stays out keeps its place and sends zeros, so that the number of clients
tells nothing; under a claim of replace-one it sends the opposite vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Adaptive, Correlated
from tacit.core.trees import flatten
from tacit.core.values import Array, Event, Params, PlanError, Population, Turn
from tacit.evaluation.attacks import accountant_bound, audit_bounds
from tacit.evaluation.attacks.canaries import Canaries, Marks
from tacit.evaluation.attacks.canary_scores import Game
from tacit.evaluation.attacks.leakage import auc, recovered_at
from tacit.evaluation.attacks.view import Tap
from tacit.evaluation.attacks.watched import Watched, seen
from tacit.federation.cohort import draw
from tacit.federation.engines.in_process import InProcess
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.privacy import protection
from tacit.privacy.accountant import spent
from tacit.privacy.calibrate import sampling_of
from tacit.privacy.randomness import simulated


@dataclass(frozen=True, slots=True)
class CanaryAudit:
    """What canaries showed of one training."""

    claimed: float  # epsilon that the plan claims at delta, for all these rounds together
    delta: float
    bound: float  # the lower bound that counts, see `counts`
    counts: str  # "gdp" with everybody in each round of a Gaussian, "accounted" where cohorts are drawn, else "rates"
    bounds: Mapping[str, float]  # by each method
    confidence: float
    canaries: int  # vectors that were drawn
    joined: int  # of these, clients of the training
    auc: float
    recovered: Mapping[str, float]  # share of joined canaries that is found, at false-positive rates
    clients: int
    rounds: int

    @property
    def holds(self) -> bool:
        """Whether the claim survived."""
        return self.bound <= self.claimed

    def summary(self) -> dict[str, Any]:
        """For report.json."""
        return {**asdict(self), "holds": self.holds}


def refuses(plan: Plan) -> str | None:
    """Why no canary can be looked for in this plan's sums, or None."""
    if plan.clip_norm is None:
        return "an audit by canaries needs a clip norm: without one a contribution may be of any size"
    if plan.noise is None:
        return "an audit by canaries needs noise on the sum: this plan states no epsilon for a client"
    if plan.noise.lossy:
        return f"{plan.noise!r} bounds each client in L1, and this audit's canaries are vectors of a length in L2"
    if (lossy := next((t for t in plan.protect if t.lossy), None)) is not None:
        return f"{lossy!r} does not bring a canary's vector back: audit the plan without it, its noise is the same"
    return None


def audit(
    plan: Plan,
    clients: Population,
    claimed: float | None,
    delta: float,
    canaries: int = 1000,
    nodes: int = 1,
    seed: int = 0,
    confidence: float = 0.95,
) -> CanaryAudit:
    """Train the plan over these clients and canaries, and bound epsilon from below.

    Args:
        plan: its clip norm is what canaries use to the full. Its protections, secure sum included, and the way it draws
            cohorts are its own; its cohort is drawn from clients and canaries together.
        clients: real rows; they learn beside the canaries.
        claimed: epsilon that is stated for this training; None = what the accountant says of its rounds.
        delta: of that statement.
        canaries: vectors; each joins by a fair coin.
        nodes: over how many nodes clients and canaries are spread.
        seed: of vectors and coins.
        confidence: of the bound.

    Raises:
        PlanError: nothing bounds a contribution, there is no noise on the sum, or a transform shortens what is sent.
    """
    if (why := refuses(plan)) is not None:
        raise PlanError(why)
    assert plan.noise is not None and plan.clip_norm is not None
    coins = np.random.default_rng([seed, 4]).random(canaries) < 0.5
    unit = float(getattr(plan.noise, "clip_norm", plan.clip_norm))  # of an example, where that is what noise hides
    everyone = _with(clients, canaries)
    opposite = _replaces(plan, len(everyone))
    sends = tuple(int(v) for v in np.where(coins, 1, -1 if opposite else 0))
    loud = 1e6 if any(isinstance(t, Adaptive) for t in plan.protect) else 1.0  # beyond any clip norm that moves
    trainer = Canaries(len(clients), sends, unit * loud, seed, plan.trainer)
    ready = replace(plan, trainer=trainer, algorithm=Watched(plan.algorithm), select="last", baselines=(), also=())
    shown: list[Array] = []
    events: list[Event] = []
    length = 0
    for vector, told, spoke in _rounds(ready, everyone, len(clients), nodes, events):
        length = vector.shape[-1]
        along = Marks(length, canaries, seed).along(vector) / (unit * _gain(ready, told))
        shown.append(np.where(spoke, along, np.nan))
    stated = spent(events, delta).epsilon if claimed is None else claimed
    drawn = {event.sampling_rate for event in events if event.sampling != "all"}
    rate = 1.0 if not drawn else max(drawn)
    crowd = 0.0 if plan.noise.per_client else canaries * rate / length
    multipliers = [float(getattr(plan.noise, "noise_multiplier", 1.0))] * len(shown)
    if not isinstance(plan.noise, Correlated):
        multipliers = [event.noise_multiplier for event in events]
    game = Game(tuple(math.sqrt(z * z + crowd) for z in multipliers), rate, opposite)
    return judged(np.array(shown), coins, game, stated, delta, events, confidence, len(clients))


def judged(
    shown: Array,
    joined: Array,
    game: Game,
    claimed: float,
    delta: float,
    events: list[Event],
    confidence: float = 0.95,
    clients: int = 0,
) -> CanaryAudit:
    """The bounds that inner products over the clip norm (rounds, canaries) give; `joined` (canaries,) bool.

    A round in which a canary is known to have been silent is NaN for it.
    """
    score, thresholds = game.scores(shown), game.thresholds(shown)
    found, absent = score[joined], score[~joined]
    guesses = max(2, len(score) // 4 // 2 * 2)
    order = np.argsort(score)
    correct = int(joined[order[-guesses // 2 :]].sum() + (~joined[order[: guesses // 2]]).sum())
    bounds = {
        "rates": audit_bounds.rates(found, absent, thresholds, delta, confidence),
        "one_run": audit_bounds.one_run(len(score), guesses, correct, delta, confidence),
    }
    counts = "rates"
    if all(event.mechanism == "gaussian" for event in events):
        if game.rate >= 1.0:
            counts = "gdp"
            bounds["gdp"] = audit_bounds.gdp(found, absent, thresholds, delta, confidence)
            bounds["f_dp"] = audit_bounds.f_dp(len(score), guesses, correct, delta, confidence)
        else:
            counts = "accounted"
            bounds[counts] = accountant_bound.as_accounted(found, absent, thresholds, events, delta, confidence)
    return CanaryAudit(
        claimed=claimed,
        delta=delta,
        bound=bounds[counts],
        counts=counts,
        bounds=bounds,
        confidence=confidence,
        canaries=len(score),
        joined=int(joined.sum()),
        auc=auc(joined, score),
        recovered={f"{rate:g}": recovered_at(joined, score, rate) for rate in (0.001, 0.01)},
        clients=clients,
        rounds=len(shown),
    )


def _rounds(
    plan: Plan, everyone: Population, first: int, nodes: int, events: list[Event]
) -> Iterator[tuple[Array, tuple[Params, ...], Array]]:
    """(what is seen, what transforms were told, which canaries may have spoken) of each round; adds to `events`.

    Seen is the decoded sum (d,), or under local noise each canary's own message (canaries, d).
    """
    assert plan.noise is not None
    cuts = np.array_split(np.arange(len(everyone)), nodes)
    if plan.noise.per_client:  # the server knows whose message it reads
        cuts = [np.arange(first), *np.arange(first, len(everyone))[:, None]]
    hosts = {}
    for number, index in enumerate(cuts):
        part = everyone.take(index)
        hosts[f"node{number}"] = Worker(plan, Population(part.schema, part.offsets, part.fields, int(index[0])))
    tap = Tap(InProcess(hosts))
    told = protection.start(plan)
    for done in run(plan, tap, everyone.schema):
        events += done.events
        spoke = np.ones(len(everyone) - first, bool)
        if plan.sampling == "cyclic":  # the order is public
            spoke = np.isin(np.arange(first, len(everyone)), draw(plan, len(everyone), done.number))
        if plan.noise.per_client:
            yield np.stack([flatten(tap.heard[name].arrays) for name in list(hosts)[1:]]), told, spoke
        else:
            yield seen(done.state), told, spoke
        told = protection.unpacked(plan, done.state.server)


def _gain(plan: Plan, told: tuple[Params, ...]) -> float:
    """By how much decoding stretches a vector of the clip norm, where that norm moves; else 1."""
    gain = 1.0
    for transform, state in zip(plan.protect, told, strict=True):
        if isinstance(transform, Adaptive) and not transform.noisy:
            gain *= float(transform.decode(np.ones(2), Turn(size=1, told=state), simulated(0, "gain"))[0])
    return gain


def _replaces(plan: Plan, clients: int) -> bool:
    """Whether the plan's statement is about one client replaced, not added or removed."""
    assert plan.noise is not None
    event = plan.noise.event(*sampling_of(plan, clients), Turn(rounds=plan.rounds, clients=plan.cohort or clients))
    return event is not None and event.sampling == "fixed"


def _with(clients: Population, canaries: int) -> Population:
    """The same clients, and behind them canaries without rows."""
    more = np.full(canaries, clients.offsets[-1], np.int64)
    return Population(clients.schema, np.concatenate([clients.offsets, more]), clients.fields)
