from __future__ import annotations

import numpy as np
import pytest

from lossproof.objective.weighting import MGDA

from . import gradients as reference
from .combining import combined, numbers


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_the_shortest_vector_of_the_hull(family: str) -> None:
    rows = reference.FAMILIES[family]
    expected = reference.shortest(rows)
    sizes = np.linalg.norm(rows, axis=1)
    assert np.linalg.norm(combined(MGDA(), rows) - expected) <= 1e-3 * sizes.min() + 1e-6 * sizes.max() * (
        sizes.min() == 0
    )


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_the_conditions_of_karush_kuhn_and_tucker(family: str) -> None:
    rows = reference.FAMILIES[family].astype("float32").astype("float64")
    strategy = MGDA()
    combined(strategy, rows)
    shares = numbers(strategy.gradient_weights())
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1, abs=1e-6)
    direction = shares @ rows
    slack = rows @ direction - direction @ direction
    scale = np.linalg.norm(rows, axis=1) * np.linalg.norm(rows, axis=1).min()
    assert (slack >= -1e-3 * scale - 1e-12).all()
    assert (np.abs(shares * slack) <= 1e-3 * scale + 1e-12).all()


def test_the_smallest_gradient_alone_where_it_is_the_nearest() -> None:
    rows = np.zeros((2, reference.WIDTH))
    rows[0, 0], rows[1, :2] = 1.0, (5.0, 3.0)
    np.testing.assert_allclose(combined(MGDA(), rows), rows[0], atol=1e-6)


def test_a_term_without_gradient_stops_all() -> None:
    assert np.abs(combined(MGDA(), reference.FAMILIES["one zero"])).max() < 1e-6
