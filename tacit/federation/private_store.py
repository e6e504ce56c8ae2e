"""The private parameters of a node's clients, as of a round, on the node's own disk: a crash loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tacit.core.plan import Plan
from tacit.core.trees import size
from tacit.core.values import Array, DataError, Params, Population, Schema
from tacit.federation import array_file
from tacit.learning.contribution import contribution_like
from tacit.privacy import protection


class PrivateStore:
    """Private parameters stacked over clients, (clients, ...) each, and the round after which they hold.

    Round r may begin from memory, or from the file that a commit of round r - 1 left; the file before the newest is
    kept until the next commit, since a server that crashed may ask for the newest round once more.
    """

    def __init__(self, plan: Plan, population: Population, folder: Path | None) -> None:
        init = plan.model.init(population.schema, plan.seed)
        names = plan.algorithm.private(plan.model)
        self._initial = {name: np.asarray(init[name]) for name in names}
        if protection.remembering(plan) is not None:
            self._initial[protection.MEMORY] = np.zeros(_contributed(plan, init, population.schema), np.float32)
        self._clients = len(population)
        self._folder = folder
        self._round = 0  # parameters are as after this round
        self._dirty = 0  # the round in progress, 0 = none
        self.own = self._fresh()

    @property
    def parameters(self) -> dict[str, Array]:
        """The model's private parameters alone: the same arrays as in `own`."""
        return {name: value for name, value in self.own.items() if not name.startswith("#")}

    def _fresh(self) -> dict[str, Array]:
        return {name: np.repeat(value[None], self._clients, axis=0) for name, value in self._initial.items()}

    def begin(self, round: int) -> None:
        """Make sure that the parameters are those after round - 1, whatever was begun in the meantime.

        Raises:
            DataError: neither memory nor disk has them.
        """
        if self._dirty == round or (self._dirty == 0 and self._round == round - 1) or not self._initial:
            self._dirty = round
            return
        self.own = self.load(round - 1)
        self._round, self._dirty = round - 1, round

    def commit(self, round: int) -> None:
        """The round is over: its parameters are stored before the server counts it.

        A node none of whose clients was asked in this round stores what it had after the round before.

        Raises:
            DataError: neither memory nor disk has what the round began with.
        """
        self.begin(round)
        self._round, self._dirty = round, 0
        if self._folder is None or not self.own:
            return
        path = self._path(round)
        array_file.save(path, self.own)
        for old in self._folder.glob("round-*.safetensors"):
            if old not in (path, self._path(round - 1)):
                old.unlink()

    def after(self, round: int) -> dict[str, Array]:
        """The parameters as after a round: from memory where they are there, else from the disk.

        Raises:
            DataError: neither has them.
        """
        current = (self._dirty == 0 and self._round == round) or not self._initial
        return self.own if current else self.load(round)

    def load(self, round: int) -> dict[str, Array]:
        """The parameters as after a round; round 0 is the initial values.

        Raises:
            DataError: they were not stored, or the file is damaged.
        """
        if round == 0:
            return self._fresh()
        if self._folder is None:
            raise DataError(f"private parameters of round {round} are needed, but this node keeps none on disk")
        try:
            loaded, _ = array_file.load(self._path(round))
        except DataError:
            raise DataError(
                f"private parameters of round {round} are missing or damaged in {self._folder}; the run cannot resume "
                "there. Start it anew in another run folder."
            ) from None
        shapes = {name: (self._clients, *value.shape) for name, value in self._initial.items()}
        if {name: value.shape for name, value in loaded.items()} != shapes:
            raise DataError(f"private parameters in {self._folder} belong to other clients or another model")
        return loaded

    def _path(self, round: int) -> Path:
        assert self._folder is not None
        return self._folder / f"round-{round:06d}.safetensors"


def _contributed(plan: Plan, init: Params, schema: Schema) -> int:
    """Length of a contribution to this plan."""
    private = plan.algorithm.private(plan.model)
    shared = {name: value for name, value in init.items() if name not in private}
    return size(contribution_like(plan, shared, schema, 1))
