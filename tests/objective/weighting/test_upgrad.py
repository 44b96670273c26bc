from __future__ import annotations

import numpy as np
import pytest

from lossproof.objective.weighting import UPGrad

from . import gradients as reference
from .combining import assert_no_conflict, combined


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_the_mean_of_the_projections(family: str) -> None:
    rows = reference.FAMILIES[family]
    expected = reference.projected_mean(rows)
    sizes = np.linalg.norm(rows, axis=1)
    assert np.linalg.norm(combined(UPGrad(), rows) - expected) <= 1e-4 * sizes.mean()


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_it_conflicts_with_no_term(family: str) -> None:
    rows = reference.FAMILIES[family]
    assert_no_conflict(rows, combined(UPGrad(), rows))


def test_without_conflict_it_is_the_mean() -> None:
    rows = reference.FAMILIES["agreeing 5"]
    np.testing.assert_allclose(combined(UPGrad(), rows), rows.mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("family", ["random 3", "conflicting 3", "conflicting 5"])
def test_it_is_linear_under_the_scaling_of_each_gradient(family: str) -> None:
    rows = reference.FAMILIES[family]
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0.1, 10, size=(2, len(rows), 1))
    both = combined(UPGrad(), (2 * one + 3 * other) * rows)
    parts = 2 * combined(UPGrad(), one * rows) + 3 * combined(UPGrad(), other * rows)
    assert np.linalg.norm(both - parts) <= 1e-4 * np.linalg.norm(both)


def test_gradients_almost_dependent() -> None:
    rng = np.random.default_rng(1)
    for angle in (1e-1, 1e-2, 1e-3, 0.0):
        base, side = rng.normal(size=(2, reference.WIDTH))
        rows = np.stack([base, -base + angle * side, rng.normal(size=reference.WIDTH)])
        found = combined(UPGrad(), rows)
        expected = reference.projected_mean(rows.astype("float32").astype("float64"))
        assert_no_conflict(rows, found, tolerance=1e-3)
        if angle > 3e-3:  # nearer ones count as opposite
            assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(rows, axis=1).mean(), angle


def test_more_terms_than_can_be_enumerated_are_refused() -> None:
    with pytest.raises(ValueError, match=r"UPGrad .* at most 10 terms"):
        UPGrad().prepare([f"t{k}" for k in range(11)])
