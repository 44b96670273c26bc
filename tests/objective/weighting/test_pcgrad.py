from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from lossproof.objective.weighting import PCGrad
from lossproof.objective.weighting.pcgrad import surgery

from . import gradients as reference
from .combining import assert_no_conflict, combined, numbers

TWO = [name for name, rows in reference.FAMILIES.items() if len(rows) == 2]


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_the_paper_s_algorithm_with_the_same_orders(family: str) -> None:
    rows = reference.FAMILIES[family].astype("float32").astype("float64")
    rng = np.random.default_rng(5)
    orders = np.stack([rng.permutation(len(rows)) for _ in rows])
    found = ops.convert_to_numpy(
        surgery(ops.convert_to_tensor((rows @ rows.T).astype("float32")), orders.astype("int32"))
    )
    expected = reference.surgery(rows, orders)
    assert np.linalg.norm(found @ rows - expected) <= 1e-4 * np.linalg.norm(rows)


@pytest.mark.parametrize("family", TWO)
def test_two_terms_need_no_order(family: str) -> None:
    rows = reference.FAMILIES[family]
    expected = reference.surgery(rows, [[1], [0]])
    assert np.linalg.norm(combined(PCGrad(), rows) - expected) <= 1e-5 * np.linalg.norm(rows)


@pytest.mark.parametrize("family", TWO)
def test_two_terms_are_left_without_conflict(family: str) -> None:
    rows = reference.FAMILIES[family]
    assert_no_conflict(rows, combined(PCGrad(), rows))


def test_without_conflict_it_is_the_sum() -> None:
    rows = reference.FAMILIES["agreeing 3"]
    strategy = PCGrad(seed=1)
    np.testing.assert_allclose(combined(strategy, rows), rows.sum(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(numbers(strategy.gradient_weights()), np.ones(3))


def test_orders_are_drawn_anew_at_each_step_and_all_occur() -> None:
    rows = reference.FAMILIES["conflicting 3"]
    strategy = PCGrad(seed=2)
    seen = {tuple(np.round(combined(strategy, rows), 4)) for _ in range(60)}
    a, b = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[2, 1], [2, 0], [1, 0]])
    every = set()
    for mask in range(8):
        orders = [a[i] if mask >> i & 1 else b[i] for i in range(3)]
        every.add(tuple(np.round(reference.surgery(rows, orders), 4)))
    assert len(seen) == len(every) > 1
    for one in seen:
        assert min(np.abs(np.array(one) - np.array(other)).max() for other in every) < 2e-3


def test_the_same_seed_gives_the_same_orders() -> None:
    rows = reference.FAMILIES["conflicting 5"]
    first, second = PCGrad(seed=7), PCGrad(seed=7)
    for _ in range(5):
        np.testing.assert_array_equal(combined(first, rows), combined(second, rows))
