"""The same gradients and values given to TorchJD, another implementation of the same papers."""

from __future__ import annotations

import numpy as np
import pytest

from lossproof.objective import weighting

from . import gradients as reference
from .combining import combined, prepared, value

pytestmark = pytest.mark.backend("torch")

FAMILIES = [
    name for name, rows in reference.FAMILIES.items() if "zero" not in name and "badly" not in name and len(rows) < 10
]
VALUES = [0.7, 2.5, 0.04]


def aggregated(aggregator: object, rows: np.ndarray) -> np.ndarray:
    import torch

    return aggregator(torch.tensor(rows, dtype=torch.float64)).numpy()  # type: ignore[operator]


@pytest.mark.parametrize("family", [name for name in FAMILIES if len(reference.FAMILIES[name]) == 2])
def test_pcgrad(family: str) -> None:
    from torchjd.aggregation import PCGrad

    rows = reference.FAMILIES[family]
    np.testing.assert_allclose(
        combined(weighting.PCGrad(), rows), aggregated(PCGrad(), rows), atol=1e-5 * np.abs(rows).max()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_upgrad(family: str) -> None:
    from torchjd.aggregation import UPGrad
    from torchjd.linalg import QuadprogProjector

    rows = reference.FAMILIES[family]
    exact = UPGrad(projector=QuadprogProjector(norm_eps=0.0, reg_eps=1e-9))
    np.testing.assert_allclose(
        combined(weighting.UPGrad(), rows), aggregated(exact, rows), atol=2e-4 * np.abs(rows).max()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_mgda(family: str) -> None:
    from torchjd.aggregation import MGDA

    rows = reference.FAMILIES[family]
    slow = MGDA(epsilon=1e-7, max_iters=5000)  # Frank-Wolfe's error falls as 1 / iterations
    np.testing.assert_allclose(combined(weighting.MGDA(), rows), aggregated(slow, rows), atol=5e-3 * np.abs(rows).max())


@pytest.mark.parametrize("c", [0.2, 0.5])
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "opposite"])
def test_cagrad(family: str, c: float) -> None:
    from torchjd.aggregation import CAGrad

    rows = reference.FAMILIES[family]
    np.testing.assert_allclose(
        combined(weighting.CAGrad(c=c), rows),
        aggregated(CAGrad(c=c, norm_eps=0.0), rows),
        atol=2e-3 * np.abs(rows).max(),
    )


def test_uncertainty() -> None:
    import torch
    from torchjd.scalarization import UW

    theirs = UW(3)
    with torch.no_grad():
        theirs.log_var.copy_(torch.log(torch.tensor([0.5, 1.0, 4.0])))
    strategy = prepared(weighting.Uncertainty(initial={"term0": 0.5, "term2": 4.0}), 3)
    assert value(strategy.total(VALUES)) == pytest.approx(float(theirs(torch.tensor(VALUES)).detach()), rel=1e-6)


def test_geometric_mean() -> None:
    import torch
    from torchjd.scalarization import GeometricMean

    strategy = prepared(weighting.GeometricMean(), 3)
    assert value(strategy.total(VALUES)) == pytest.approx(float(GeometricMean()(torch.tensor(VALUES))), rel=1e-6)


def test_dynamic_weight_average() -> None:
    import torch
    from torchjd.scalarization import DWA

    rng = np.random.default_rng(1)
    theirs, strategy = DWA(temperature=2.0), prepared(weighting.DWA(), 2)
    for _ in range(5):
        strategy.epoch_start.reset_state()
        for _ in range(4):
            values = rng.uniform(0.1, 3, size=2)
            assert value(strategy.total(list(values))) == pytest.approx(float(theirs(torch.tensor(values))), rel=1e-5)
        theirs.step()
