"""DP-SGD on the client: every client protects its own examples from everybody, before anything leaves it.

M. Abadi et al.: "Deep Learning with Differential Privacy", CCS 2016, https://arxiv.org/abs/1607.00133, Algorithm 1:
Poisson batches, clipped gradients of single examples, Gaussian noise on their sum. Epsilon is per client and counts its
own rows; clients that hold different rows do not add up (parallel composition). Batches and noise come from the
operating system, under `simulation` from the plan's seed: then a run is reproducible bit by bit, and protects nobody. A
round that is repeated after a crash draws anew, and is to be charged again, unless it is simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from tacit.core.protocols import LossModel, Model, Randomness
from tacit.core.trees import flatten, unflatten
from tacit.core.values import Array, Event, Params, PlanError, Population
from tacit.learning.example_gradients import clipped_sum, refuses_examples
from tacit.privacy.accountant import Spent, noise_multiplier, spent
from tacit.privacy.grid_noise import noisy
from tacit.privacy.randomness import secure, simulated


@dataclass(frozen=True, slots=True)
class PrivateSteps:
    """A client's work: `steps` noisy steps from the shared model; contributes delta = local - shared, summed."""

    scored: LossModel  # not `model`: the sums are gradients, not the statistics of the model
    settings: DPSGD
    seed: int | None = None  # of batches and noise, under `simulation`; None = the operating system's randomness
    numbers: tuple[int, ...] = ()  # of the clients that are summed, among all: each draws its own from the seed

    def seeded(self, seed: int) -> PrivateSteps:
        """The same work with reproducible batches and noise, which protect nobody."""
        return replace(self, seed=seed)

    def over(self, numbers: Array) -> PrivateSteps:
        """The same work, told the (k,) numbers of the clients that it will sum over."""
        return replace(self, numbers=tuple(int(number) for number in numbers))

    def _source(self, client: int) -> Randomness:
        if self.seed is None:
            return secure()
        return simulated("private steps", self.seed, self.numbers[client] if self.numbers else client)

    def sums(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """({name: float64 sum of deltas}, nothing private)."""
        trained = [name for name in shared if name not in self.scored.constants]
        totals = {name: np.zeros(np.shape(shared[name])) for name in trained}
        for client in range(len(clients)):
            for name, value in self.delta(shared, clients.rows(client), self._source(client)).items():
                totals[name] = totals[name] + value
        return totals, {}

    def delta(self, shared: Params, rows: Params, source: Randomness) -> Params:
        """One client's noisy movement. A step divides by the expected batch, which its own rows' number sets.

        The number of rows is taken as public: it is the neighbour's with one example replaced, or nearly so.

        Raises:
            PlanError: the noise was not calibrated.
        """
        own = self.settings
        if own.noise_multiplier == 0.0:
            raise PlanError(f"{own!r} has no noise multiplier yet: calibrate() the plan first")
        params = {name: torch.tensor(value) for name, value in shared.items()}
        count = len(rows["y"])
        if count == 0:
            return {name: np.zeros(np.shape(v)) for name, v in shared.items() if name not in self.scored.constants}
        for _ in range(own.steps):
            mine = np.flatnonzero(source.uniform(count) < own.rate)
            batch = {name: np.ascontiguousarray(values[mine]) for name, values in rows.items()}
            sums = {n: gradient.numpy() for n, gradient in clipped_sum(self.scored, params, batch, own.clip).items()}
            released = noisy(flatten(sums), own.clip, own.noise_multiplier, source) * (own.lr / (own.rate * count))
            for name, step in unflatten(released, sums).items():
                params[name] = params[name] - torch.from_numpy(np.array(step)).to(params[name].dtype)
        return {
            name: params[name].double().numpy() - value
            for name, value in shared.items()
            if name not in self.scored.constants
        }


@dataclass(frozen=True, slots=True)
class DPSGD:
    """`steps` noisy steps a round, each on a Poisson batch of the client's rows.

    Guarantees:
        one example moves a step's gradient before noise by at most clip in L2.
        the noise of a step has standard deviation noise_multiplier * clip on each value.
        epsilon is the cost of all steps of all rounds for each client.
    """

    lr: float = 0.5
    steps: int = 10  # per round
    rate: float = 0.1  # probability with which each example is in a step's batch
    clip: float = 1.0  # L2 norm that no single example's gradient exceeds
    noise_multiplier: float = 1.0  # noise standard deviation / clip; 0 = from `epsilon`
    epsilon: float = 0.0  # target of each client's examples over the whole training; used only without a multiplier
    delta: float = 1e-5  # of the stated (epsilon, delta); take it well below 1 / rows of a client

    def __post_init__(self) -> None:
        if not (self.lr > 0.0 and self.clip > 0.0 and self.steps > 0 and 0.0 < self.rate <= 1.0):
            raise ValueError(
                "lr, clip and steps must be above 0 and rate in (0, 1], got "
                f"{self.lr}, {self.clip}, {self.steps} and {self.rate}"
            )
        given = (self.noise_multiplier, self.epsilon)
        if min(given) < 0.0 or not 0.0 < max(given) < math.inf or 0.0 not in given:
            raise ValueError(
                "DPSGD needs either a finite noise_multiplier > 0, or noise_multiplier = 0 and a finite epsilon > 0, "
                f"got noise_multiplier={self.noise_multiplier}, epsilon={self.epsilon}"
            )
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"DPSGD needs 0 < delta < 1, got {self.delta}")

    def work(self, model: Model, private: tuple[str, ...], weighting: str) -> PrivateSteps:
        """One client's work with these settings.

        Raises:
            PlanError: a model whose single examples have no gradients, private parameters, or weights that tell rows.
        """
        why = refuses_examples(model)
        if why is None and (private or weighting != "uniform"):
            why = "DPSGD keeps nothing on clients and tells nobody how many rows they have: use weighting = 'uniform'"
        if why is not None:
            raise PlanError(why)
        assert isinstance(model, LossModel)
        return PrivateSteps(model, self)

    def events(self, rounds: int) -> list[Event]:
        """What `rounds` rounds cost a client that takes part in all of them."""
        sampling = "poisson" if self.rate < 1.0 else "all"
        return [Event("gaussian", self.noise_multiplier, sampling, self.rate)] * (self.steps * rounds)

    def spent(self, rounds: int, delta: float) -> Spent:
        """Epsilon of each client's examples."""
        return spent(self.events(rounds), delta, "example")

    def for_epsilon(self, epsilon: float, delta: float, rounds: int) -> float:
        """The noise multiplier with which `rounds` rounds cost each client's examples (epsilon, delta)."""
        sampling = "poisson" if self.rate < 1.0 else "all"
        return noise_multiplier(epsilon, delta, self.steps * rounds, sampling, self.rate)
