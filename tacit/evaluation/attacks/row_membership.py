"""Whether a row was among those that a published model learned from: LiRA with shadow trainings on the real path.

Target and shadows are trainings on random halves of a pool of rows; every one is the target once, judged by all others
(see `likelihood_ratio`). The statistic is the log odds that the model gives to the row's true label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Classifier
from tacit.core.values import Array, Population
from tacit.evaluation.attacks import likelihood_ratio
from tacit.evaluation.attacks.gradient_inversion import standardised
from tacit.evaluation.attacks.leakage import Leakage
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene
from tacit.evaluation.attacks.view import released
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.models.multilayer_perceptron import MultilayerPerceptron


@dataclass(frozen=True, slots=True)
class RowMembership:
    """Every attacker reads the finished model, so a secure sum changes nothing here; noise does.

    The network is the attack's own, trained until it remembers: what a plan that overfits would give away.
    """

    rate: float = 0.01  # false-positive rate
    worlds: int = 12  # trainings
    rows: int = 400  # in the pool
    parties: int = 20
    rounds: int = 20
    hidden: int = 64
    online: bool = True  # False: only shadows without the row are used

    @property
    def serves(self) -> tuple[str, ...]:
        """Tables."""
        return ("tabular",)

    @property
    def question(self) -> str:
        """In words."""
        return "Was a known row among those that the published model learned from?"

    def refuses(self, scene: Scene) -> str | None:
        """Too few rows."""
        rows = int(scene.clients.offsets[-1])
        return None if rows >= 100 else f"{rows} rows are too few to train on halves of"

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """Leakage of rows, with the figures of the offline attack and of one global threshold."""
        count = min(self.rows, int(scene.clients.offsets[-1]))
        pool = standardised(scene, 1, count)
        source = np.random.default_rng([scene.seed, 3])
        members = likelihood_ratio.halves(self.worlds, count, source)
        plan = self.plan(scene)
        loss = np.stack(
            [
                _confidence(replace(plan, seed=scene.seed + w), pool, inside, protection, self.parties)
                for w, inside in enumerate(members)
            ]
        )
        rule = "online" if self.online else "offline"
        return likelihood_ratio.leakage("rows", loss, members, rule, self.rate, scene.seed)

    def plan(self, scene: Scene) -> Plan:
        """The attacked training."""
        local = SGD(lr=0.3, epochs=4, batch_size=4)
        model = MultilayerPerceptron(self.hidden)
        bare = replace(scene.plan, protect=(), secure_sum=None)
        return replace(bare, model=model, algorithm=FedAvg(local), trainer=None, rounds=self.rounds)


def _confidence(plan: Plan, pool: Population, inside: Array, protection: Protection, parties: int) -> Array:
    """(rows,) log odds of the true label, by a model that learned from some rows of the pool."""
    chosen = pool.take(np.flatnonzero(inside))
    cuts = np.linspace(0, len(chosen), min(parties, len(chosen)) + 1).astype(np.int64)
    model = released(plan, Population(pool.schema, cuts, chosen.fields), protection).shared
    assert isinstance(plan.model, Classifier)
    p = np.clip(plan.model.probabilities(model, {}, pool, pool), 1e-7, 1.0 - 1e-7).astype(np.float64)
    right = np.where(pool.fields["y"] > 0.5, p, 1.0 - p)
    return np.asarray(np.log(right) - np.log1p(-right))
