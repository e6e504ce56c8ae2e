"""The shapes of a federated run's parts, and the one way to reach a client.

A round: data -> learning (a client's work) -> privacy (encode) -> engine -> aggregation or secure sum -> privacy
(decode) -> learning (update) -> Round. Components are frozen dataclasses with pure methods, buildable without
arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from tacit.core.values import Address, Array, Event, Params, Population, Reply, Request, Schema, State, Turn, Vector

Tree: TypeAlias = dict[str, Any]  # name -> torch.Tensor, so that torch.func.vmap can stack it over clients
Carry: TypeAlias = dict[str, Tree]


class Randomness(Protocol):
    """A stream of random values; the operating system's, or under `simulation` the plan's seed's."""

    def bytes(self, count: int) -> bytes: ...
    def uniform(self, count: int) -> Array: ...  # (count,) float64 in (0, 1)
    def normal(self, count: int) -> Array: ...  # (count,) float64, standard normal


@runtime_checkable
class Model(Protocol):
    """Parameters by name, some shared, some private to each client."""

    @property
    def serves(self) -> Literal["interactions", "tabular"]: ...  # the kind of data it learns from

    def init(self, schema: Schema, seed: int) -> Params: ...  # shared and private parameters of one client

    @property
    def private(self) -> tuple[str, ...]: ...  # names that never leave a client


@runtime_checkable
class LossModel(Model, Protocol):
    """A model learned by gradients: a pure function of its parameters."""

    @property
    def constants(self) -> tuple[str, ...]: ...  # shared names that training leaves alone (a scaler's mean)

    @property
    def head(self) -> tuple[str, ...]: ...  # the last layer, which personalisation algorithms keep private
    @property
    def tables(self) -> Mapping[str, str]: ...  # parameter -> batch field that picks its rows (an item table)
    @property
    def negatives(self) -> int: ...  # drawn per row from items not in the client's rows; 0 = rows as they are

    def loss(self, params: Tree, batch: Tree) -> Any: ...  # (batch,) one loss per example


@runtime_checkable
class HasGradients(Protocol):
    """A loss model that also brings its gradient by hand, over stacked clients: (clients, ...) in every array.

    Beside "item", a row in the client's own table, a batch then has "place": the row in all clients' tables laid end to
    end. The gradient of a table is a pair (place, values (clients, batch, dim)).
    """

    def gradients(self, params: Tree, batch: Tree, weight: Any) -> Tree: ...  # of sum_b weight[c, b] * loss[c, b]


@runtime_checkable
class StatisticsModel(Model, Protocol):
    """A model learned from sums over clients: statistics(A and B) = statistics(A) + statistics(B)."""

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]: ...

    # (sums over these clients, their new private parameters stacked over clients)

    def solve(self, shared: Params, total: Params, clients: float) -> Params: ...  # the next shared parameters


@runtime_checkable
class Recommender(Protocol):
    """Scores every item for each client, on that client's side; higher is better."""

    def scores(self, shared: Params, own: Params, clients: Population) -> Array: ...  # (clients, items)


@runtime_checkable
class Classifier(Protocol):
    """Probability of the positive class for each row, on the row owner's side."""

    def probabilities(self, shared: Params, own: Params, history: Population, rows: Population) -> Array: ...

    # (rows,); `history` holds the same clients' training rows, which a model of interactions reads


@runtime_checkable
class LocalWork(Protocol):
    """Gradient work of one client in one round, cut so that a trainer may loop or vmap over clients."""

    @property
    def private(self) -> tuple[str, ...]: ...  # parameter names that stay on the client
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def shuffle(self) -> bool: ...
    @property
    def model(self) -> LossModel: ...
    def start(self, shared: Tree, own: Tree) -> Carry: ...
    def step(self, carry: Carry, batch: Tree) -> Carry: ...  # no Python branch on tensor values
    def finish(self, shared: Tree, carry: Carry) -> tuple[Tree, Tree]: ...  # (contribution, own)


@runtime_checkable
class Statistics(Protocol):
    """Work whose result is sums over the rows of any number of clients at once."""

    def sums(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]: ...


class Algorithm(Protocol):
    """A federated algorithm: what a client computes, and what the server does with the sum."""

    @property
    def weighting(self) -> str: ...  # "uniform", or "rows"

    def refuses(self, model: Model) -> str | None: ...  # why it cannot learn this model, or None
    def private(self, model: Model) -> tuple[str, ...]: ...  # parameter names that stay on each client
    def init(self, model: Model, schema: Schema, seed: int) -> State: ...
    def work(self, model: Model, round: int) -> LocalWork | Statistics: ...
    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State: ...


class Trainer(Protocol):
    """Runs a whole cohort's work on one node and adds up; `clip_norm` bounds each client's L2 norm first."""

    def refuses(self, work: LocalWork | Statistics) -> str | None: ...
    def total(
        self,
        work: LocalWork | Statistics,
        shared: Params,
        own: dict[str, Array],  # (clients, ...) private parameters of all clients of this node, updated in place
        population: Population,
        cohort: Array,  # (k,) indexes into the population
        seed: int,
        clip_norm: float | None,
    ) -> Params: ...  # sums, float64


class Aggregator(Protocol):
    """Combines updates (n, d) into one update (d,): their sum, or a robust stand-in for it."""

    @property
    def sees(self) -> Literal["sum", "each"]: ...  # what the server must see for this to work
    def __call__(self, updates: Array) -> Vector: ...  # (n, d) -> (d,), on the scale of the sum


class Transform(Protocol):
    """One layer around the sum: clip, noise, compress.

    Clients encode in order, the server decodes in reverse order. Law, tested for every file in the folder: without
    noise, decode(sum(encode(x_i))) = sum(x_i) for every x_i that the transform declares in range, unless it is `lossy`.
    """

    @property
    def bound(self) -> float | None: ...  # L2 norm that no encoded contribution exceeds, or None
    @property
    def noisy(self) -> bool: ...  # whether decoding (or encoding) adds noise that is accounted for
    @property
    def per_client(self) -> bool: ...  # False: it only bounds, so clients may be added before it is applied
    @property
    def lossy(self) -> bool: ...  # whether the sum comes back only approximately, apart from noise
    def length(self, turn: Turn) -> int: ...  # values that leave for turn.size values that come in
    def reach(self, bound: float, turn: Turn) -> float: ...  # L2 bound of what leaves, for what comes in within `bound`
    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector: ...
    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector: ...
    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None: ...  # what the round costs


@runtime_checkable
class Adaptive(Protocol):
    """A transform with a public state of its own, which follows what was released."""

    def start(self) -> Params: ...  # before the first round
    def follow(self, total: Vector, turn: Turn) -> Params: ...  # after a round, from the sum that it then decodes

    # or, where it is `noisy`, from what it has decoded: never from a sum without noise


@runtime_checkable
class Correlated(Protocol):
    """Noise that hangs together over rounds: the server keeps what it needs of earlier noise, and tells nobody."""

    def decode_with(self, total: Vector, hidden: Params, turn: Turn, source: Randomness) -> tuple[Vector, Params]: ...

    # hidden {} before the first round; in checkpoints only, never in a request, ledger or report


@runtime_checkable
class Remembering(Protocol):
    """A transform with which each client keeps something for its next round (error feedback). It is never sent."""

    def encode_with(self, x: Vector, memory: Array, turn: Turn, source: Randomness) -> tuple[Vector, Array]: ...

    # memory (d,) float32, zeros at first; kept with the client's private parameters


@runtime_checkable
class Shared(Protocol):
    """Noise that every party adds a share of, as integers inside a secure sum, after its contribution was rounded."""

    def headroom(self, turn: Turn, step: float) -> float: ...  # largest noise of the sum that integers must hold
    def share(self, size: int, step: float, turn: Turn, source: Randomness) -> Array: ...  # (size,) int64, in steps


class Choice(Protocol):
    """Names one of a plan's trainings by how many customers' validation items each hits, at a cost of its own."""

    @property
    def epsilon(self) -> float: ...
    def pick(self, hits: Array, source: Randomness) -> int: ...  # (n,) whole numbers -> a place
    def event(self) -> Event: ...


class Source(Protocol):
    """Where rows come from: a public set in its original layout, a generator, or a user's own table."""

    @property
    def gives(self) -> Literal["interactions", "tabular"]: ...


class Partition(Protocol):
    """Who is a client, and which node hosts it."""


class Answer(Protocol):
    """One node's side of the conversation: answers a request to it or to a client that it hosts, or stays silent."""

    @property
    def clients(self) -> int: ...  # how many clients it hosts
    def __call__(self, address: Address, request: Request) -> Reply | None: ...


class Engine(Protocol):
    """How requests reach nodes and clients: in this process, on a pool, over a network."""

    def nodes(self) -> Mapping[str, int]: ...  # node -> number of clients it hosts
    def send(self, requests: Mapping[Address, Request]) -> None: ...
    def receive(self, deadline: float | None = None) -> Iterator[tuple[Address, Reply]]: ...

    # yields replies as they come; stops when none is pending or `deadline` seconds have passed


def exchange(
    engine: Engine, requests: Mapping[Address, Request], deadline: float | None = None
) -> Iterator[tuple[Address, Reply]]:
    """Send, then yield the replies. A party that drops out or is late is simply missing."""
    engine.send(requests)
    yield from engine.receive(deadline)


class SecureSum(Protocol):
    """Adds the clients' vectors mod 2^32; the server learns the sum and nothing else."""

    @property
    def minimum(self) -> int: ...  # fewest contributions that may be opened together; 0 = 20 clients or 3 nodes
    def parties(self, cohort: Sequence[Address]) -> Any: ...

    # one that proves something of contributions also has refuses(protect) -> str | None: why it cannot, or None
