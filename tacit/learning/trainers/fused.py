"""Fused kernels: draw, train, bound and add in one compiled pass over the cohort."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import LocalWork, Statistics
from tacit.core.values import Array, Params, Population
from tacit.learning.examples import labels
from tacit.learning.kernels.matrix_factorisation import train
from tacit.learning.kernels.outer_products import notebook
from tacit.learning.local_sgd import LocalSGD
from tacit.learning.trainers.accumulate import add_statistics
from tacit.models.matrix_factorisation import MatrixFactorisation


@dataclass(frozen=True, slots=True)
class Fused:
    """Numba kernels; memory and time per client follow its own rows, not the catalogue. Serves the factorisation."""

    def refuses(self, work: LocalWork | Statistics) -> str | None:
        """Work without a kernel."""
        if isinstance(work, Statistics):
            return None
        plain = isinstance(work, LocalSGD) and not work.prox and not work.head_epochs and work.weighting == "uniform"
        if plain and isinstance(work.model, MatrixFactorisation) and work.private == ("user",):
            return None
        return (
            f"no fused kernel serves {type(work.model).__name__} with these settings: kernels know plain SGD on "
            "MatrixFactorisation with equal weights. Use the Stacked or Loop trainer, or leave the choice to the plan."
        )

    def total(
        self,
        work: LocalWork | Statistics,
        shared: Params,
        own: dict[str, Array],
        population: Population,
        cohort: Array,
        seed: int,
        clip_norm: float | None,
    ) -> Params:
        """Sums of the cohort's contributions, float64; `own` is updated in place."""
        if isinstance(work, Statistics):
            return add_statistics(work, shared, own, population, cohort, clip_norm)
        assert isinstance(work, LocalSGD)
        sums = np.zeros(shared["items"].shape, np.float64)
        negatives = work.model.negatives
        finite = train(
            population.fields["item"],
            np.zeros(0, np.float32) if negatives else labels(population.fields),
            population.offsets,
            population.first,
            np.ascontiguousarray(cohort, np.int64),
            shared["items"],
            own["user"],
            np.uint64(seed),
            negatives,
            work.lr,
            work.epochs,
            work.batch_size,
            work.shuffle,
            0.0 if clip_norm is None else clip_norm,
            notebook(len(sums)),
            sums,
        )
        if not finite:
            raise ValueError("a contribution holds NaN or infinity (a learning rate too high?): it must not be sent")
        return {"items": sums}
