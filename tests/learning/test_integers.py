"""How contributions become integers: bounded by the clip, by what the model declares, or by the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tacit.core.plan import Plan
from tacit.core.trees import flatten
from tacit.core.values import ProtocolError
from tacit.data.clients import ByCustomer
from tacit.data.storefront import Storefront
from tacit.learning.fedavg import FedAvg
from tacit.learning.integers import quantiser
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.learning.trainers.accumulate import add_statistics
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy.randomness import simulated
from tacit.privacy.transforms.clip import Clip

SUMS: dict[str, Any] = {"model": ItemItem(), "algorithm": SumOfStatistics()}


def plan(**changes: Any) -> Plan:
    base = {"data": Storefront(), "clients": ByCustomer(), "model": MatrixFactorisation(), "algorithm": FedAvg()}
    return Plan(**(base | changes))


class Bits:
    """Randomness in the shape that rounding asks for."""

    def bytes(self, count: int) -> bytes:
        return simulated("bits", count).bytes(count)


@pytest.mark.parametrize("model", [ItemItem(), ImplicitALS(dim=3)], ids=repr)
def test_what_a_client_contributes_fits_and_its_counts_come_out_exactly(model: Any, data: Any) -> None:
    clients = data["interactions"]
    made = plan(model=model, algorithm=SumOfStatistics())
    work, state = made.algorithm.work(model, 1), made.algorithm.init(model, clients.schema, 0)
    parts = [add_statistics(work, state.shared, {}, clients, np.array([c]), None) for c in range(len(clients))]
    made_integers = quantiser(made, work, parts[0], len(clients), len(clients))
    total = np.sum([made_integers.encode(flatten(part), Bits()) for part in parts], axis=0, dtype=np.uint32)
    decoded, exact = made_integers.decode(total, len(clients)), np.sum([flatten(part) for part in parts], axis=0)
    low = 0
    for name in sorted(parts[0]):
        high = low + parts[0][name].size
        if name in model.whole:
            np.testing.assert_array_equal(decoded[low:high], exact[low:high])
        else:
            np.testing.assert_allclose(decoded[low:high], exact[low:high], atol=model.ranges[name] * 30 * 30 / 2**30)
        low = high


def test_a_clipped_contribution_is_bounded_by_the_clip() -> None:
    like = {"a": np.zeros(3), "b": np.zeros(2)}
    made = quantiser(plan(protect=(Clip(0.5),)), FedAvg().work(MatrixFactorisation(), 1), like, 100, 100)
    assert made.encode(np.full(5, 0.5 * (1 + 1e-7)), Bits()).shape == (5,)  # rounding may exceed the bound
    with pytest.raises(ProtocolError):
        made.encode(np.full(5, 0.51), Bits())


def test_without_clip_or_declared_range_the_plan_s_bound_counts() -> None:
    like = {"items": np.zeros(4)}
    made = quantiser(plan(quantise_bound=2.0), FedAvg().work(MatrixFactorisation(), 1), like, 100, 100)
    made.encode(np.full(4, 2.0), Bits())
    with pytest.raises(ProtocolError):
        made.encode(np.full(4, 2.1), Bits())


def test_between_nodes_a_party_may_send_the_sum_of_all_that_its_node_hosts() -> None:
    like = {"gram": np.zeros(3)}
    work = SumOfStatistics().work(ItemItem(), 1)
    between = quantiser(plan(**SUMS, secure_between="nodes"), work, like, 50, 4)
    assert between.decode(between.encode(np.array([50.0, 0.0, 7.0]), Bits()), 1).tolist() == [50.0, 0.0, 7.0]
    alone = quantiser(plan(**SUMS), work, like, 50, 4)
    with pytest.raises(ProtocolError):
        alone.encode(np.array([50.0, 0.0, 7.0]), Bits())
