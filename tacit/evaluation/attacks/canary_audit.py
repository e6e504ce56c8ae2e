"""An empirical lower bound on epsilon, from one training with canary clients on the real path.

Each of `canaries` vectors joins the training as a client of its own by a fair coin (T. Steinke et al., NeurIPS 2023,
https://arxiv.org/abs/2305.08846); whether it did is guessed from the sums that the server decoded, noise included (G.
Andrew et al., ICLR 2024, https://arxiv.org/abs/2302.03098: inner products with the released updates). What is claimed
must not lie below the bound: if it does, some part of clip, noise, sum and accounting is broken.
Differs from Andrew et al.: canaries that stayed out are the null, not fresh vectors; and the bound holds at a stated
confidence, where theirs is an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.values import Array, Event, PlanError, Population
from tacit.evaluation.attacks import audit_bounds
from tacit.evaluation.attacks.canaries import Canaries, vectors
from tacit.evaluation.attacks.leakage import auc, recovered_at
from tacit.evaluation.attacks.watched import Watched, seen
from tacit.federation.engines.in_process import InProcess
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.privacy.accountant import spent

THRESHOLDS = (0.25, 0.5, 0.75)  # between what a canary that stayed out and one that joined is expected to score


@dataclass(frozen=True, slots=True)
class CanaryAudit:
    """What canaries showed of one training."""

    claimed: float  # epsilon that the plan claims at delta
    delta: float
    bound: float  # the lower bound that counts: `gdp` where the noise is Gaussian, else `rates`
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
        plan: its clip norm is what canaries use to the full. Its protections, secure sum included, are its own.
        clients: real rows; they learn beside the canaries.
        claimed: epsilon that is stated for this training; None = what the accountant says of its rounds.
        delta: of that statement.
        canaries: vectors; each joins by a fair coin.
        nodes: over how many nodes clients and canaries are spread.
        seed: of vectors and coins.
        confidence: of the bound.

    Raises:
        PlanError: nothing bounds a contribution, or only a part of the clients joins a round, so that canaries that
            were not drawn would look as if they had stayed out.
    """
    if plan.clip_norm is None:
        raise PlanError("an audit by canaries needs a clip norm: without one a contribution may be of any size")
    if plan.cohort:
        raise PlanError("an audit by canaries needs everybody in each round: set cohort = 0")
    coins = np.random.default_rng([seed, 4]).random(canaries) < 0.5
    marks = tuple(np.flatnonzero(coins).tolist())
    trainer = Canaries(len(clients), canaries, marks, plan.clip_norm, seed, plan.trainer)
    ready = replace(plan, trainer=trainer, algorithm=Watched(plan.algorithm), select="last", baselines=(), also=())
    hosts = {}
    for number, index in enumerate(np.array_split(np.arange(len(clients) + len(marks)), nodes)):
        part = _with(clients, len(marks)).take(index)
        hosts[f"node{number}"] = Worker(ready, Population(part.schema, part.offsets, part.fields, int(index[0])))
    score = np.zeros(canaries)
    events: list[Event] = []
    for done in run(ready, InProcess(hosts), clients.schema):
        total = seen(done.state)
        score += vectors(len(total), canaries, seed) @ total / plan.clip_norm
        events += done.events
    stated = spent(events, delta).epsilon if claimed is None else claimed
    gaussian = all("gaussian" in event.mechanism for event in events)
    return judged(score, coins, plan.rounds, stated, delta, gaussian, confidence, len(clients))


def judged(
    score: Array,
    joined: Array,
    rounds: int,
    claimed: float,
    delta: float,
    gaussian: bool = True,
    confidence: float = 0.95,
    clients: int = 0,
) -> CanaryAudit:
    """The bounds that scores (canaries,) give: near `rounds` for those that joined (canaries,) bool, near 0 else.

    `gaussian` says whether the noise claims to be: only then the tighter bound over Gaussian trade-offs is used.
    """
    found, absent = score[joined], score[~joined]
    thresholds = [share * rounds for share in THRESHOLDS]  # fixed before anything was seen
    guesses = max(2, len(score) // 4 // 2 * 2)
    order = np.argsort(score)
    correct = int(joined[order[-guesses // 2 :]].sum() + (~joined[order[: guesses // 2]]).sum())
    bounds = {
        "gdp": audit_bounds.gdp(found, absent, thresholds, delta, confidence),
        "rates": audit_bounds.rates(found, absent, thresholds, delta, confidence),
        "one_run": audit_bounds.one_run(len(score), guesses, correct, delta, confidence),
        "f_dp": audit_bounds.f_dp(len(score), guesses, correct, delta, confidence),
    }
    return CanaryAudit(
        claimed=claimed,
        delta=delta,
        bound=bounds["gdp" if gaussian else "rates"],
        bounds=bounds,
        confidence=confidence,
        canaries=len(score),
        joined=int(joined.sum()),
        auc=auc(joined, score),
        recovered={f"{rate:g}": recovered_at(joined, score, rate) for rate in (0.001, 0.01)},
        clients=clients,
        rounds=rounds,
    )


def _with(clients: Population, canaries: int) -> Population:
    """The same clients, and behind them canaries without rows."""
    more = np.full(canaries, clients.offsets[-1], np.int64)
    return Population(clients.schema, np.concatenate([clients.offsets, more]), clients.fields)
