from __future__ import annotations

import numpy as np
import pytest

from lossproof.objective.weighting import CAGrad

from . import gradients as reference
from .combining import combined

REGULAR = [name for name in reference.FAMILIES if "zero" not in name]


@pytest.mark.parametrize("c", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("family", REGULAR)
def test_it_serves_the_worst_off_as_well_as_the_dual_allows(family: str, c: float) -> None:
    """Weak duality proves it: no direction of the ball can do better than the dual value, and this one reaches it."""
    rows = reference.FAMILIES[family]
    mean = rows.mean(axis=0)
    direction = combined(CAGrad(c=c), rows)
    size = np.linalg.norm(mean)
    assert np.linalg.norm(direction - mean) <= (1 + 1e-3) * c * size + 1e-6 * np.linalg.norm(rows)
    gap = reference.dual_of_cagrad(rows, c) - (rows @ direction).min()
    assert gap <= 2e-3 * size * np.linalg.norm(rows, axis=1).min() + 1e-6 * size * np.linalg.norm(rows)


@pytest.mark.parametrize("family", REGULAR)
def test_no_ball_is_the_mean(family: str) -> None:
    rows = reference.FAMILIES[family]
    np.testing.assert_allclose(combined(CAGrad(c=0.0), rows), rows.mean(axis=0), atol=1e-6 * np.abs(rows).max())


def test_parallel_gradients_are_followed_further() -> None:
    rows = reference.FAMILIES["parallel 3"]
    np.testing.assert_allclose(combined(CAGrad(c=0.5), rows), 1.5 * rows.mean(axis=0), rtol=1e-4)


def test_where_the_formula_is_0_over_0_it_is_the_nearest_that_conflicts_with_none() -> None:
    rows = reference.FAMILIES["one zero"]
    mean = rows.mean(axis=0)
    assert (rows @ mean >= 0).all()  # nothing to mend
    np.testing.assert_allclose(combined(CAGrad(c=0.5), rows), mean, rtol=1e-5)
    # Two opposite gradients and one across: the first two leave no room but the plane between them.
    rows = np.zeros((3, reference.WIDTH))
    rows[0, 0], rows[1, 0], rows[2, 1] = 1.0, -2.0, 3.0
    expected = np.zeros(reference.WIDTH)
    expected[1] = 1.0
    np.testing.assert_allclose(combined(CAGrad(c=0.5), rows), expected, atol=1e-5)


def test_nothing_to_follow() -> None:
    np.testing.assert_array_equal(combined(CAGrad(), reference.FAMILIES["all zero"]), np.zeros(reference.WIDTH))


@pytest.mark.parametrize("c", [-0.1, 1.0, float("nan")])
def test_a_radius_out_of_range(c: float) -> None:
    with pytest.raises(ValueError, match=r"CAGrad\(c=\.\.\.\) takes a "):
        CAGrad(c=c)
