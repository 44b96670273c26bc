from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from keras import ops

from lossproof.objective.weighting import GradNorm

from . import gradients as reference
from .combining import CUT, combined, names, numbers


@dataclass
class Paper:
    """Algorithm 1 in float64, with the derivative of the gradients' loss taken numerically."""

    alpha: float
    rate: float
    weights: np.ndarray
    first: np.ndarray | None = None
    norms: list[np.ndarray] = field(default_factory=list)

    def step(self, gradients: np.ndarray, values: np.ndarray, shared: slice) -> np.ndarray:
        update = self.weights @ gradients
        first = self.first = values if self.first is None else self.first
        sizes = np.linalg.norm(gradients[:, shared], axis=1)
        inverse_rates = (values / first) / (values / first).mean()
        target = (self.weights * sizes).mean() * inverse_rates**self.alpha  # held fixed below

        def gradient_loss(w: np.ndarray) -> float:
            return float(np.abs(np.linalg.norm(w[:, None] * gradients[:, shared], axis=1) - target).sum())

        tiny = 1e-7
        slope = np.array(
            [
                (gradient_loss(self.weights + tiny * e) - gradient_loss(self.weights - tiny * e)) / (2 * tiny)
                for e in np.eye(len(sizes))
            ]
        )
        moved = np.maximum(self.weights - self.rate * slope, 0)
        self.weights = moved * len(moved) / moved.sum()
        return update


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
@pytest.mark.parametrize("shared", [None, "trunk"])
def test_the_paper_s_algorithm_over_some_steps(alpha: float, shared: str | None) -> None:
    rng = np.random.default_rng(4)
    strategy = GradNorm(alpha=alpha, learning_rate=0.02, shared=shared)
    strategy.prepare(names(3))
    paper = Paper(alpha, 0.02, np.ones(3))
    variables = [Named("model/trunk/kernel"), Named("model/head/kernel")]
    for step in range(6):
        rows = rng.normal(size=(3, reference.WIDTH)) * np.array([[1.0], [0.3], [2.0]])
        values = rng.uniform(0.5, 2.0, size=3) / (1 + step)
        given = [
            [ops.convert_to_tensor(row[:CUT], "float32"), ops.convert_to_tensor(row[CUT:], "float32")] for row in rows
        ]
        total = float(ops.convert_to_numpy(strategy.total(list(values))))
        assert total == pytest.approx(paper.weights @ values, rel=1e-5)
        found = np.concatenate([ops.convert_to_numpy(one) for one in strategy.combine(given, values, variables)])
        np.testing.assert_allclose(numbers(strategy.term_weights()), paper.weights, rtol=1e-5)
        expected = paper.step(rows, values, slice(0, CUT) if shared else slice(None))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        weights = ops.convert_to_numpy(strategy.loss_weights)
        np.testing.assert_allclose(weights, paper.weights, rtol=1e-4)
        assert weights.sum() == pytest.approx(3, rel=1e-6)


@dataclass
class Named:
    path: str


def test_with_equal_norms_asked_for_the_norms_become_equal() -> None:
    rows = np.diag([4.0, 1.0, 0.5, 0, 0, 0, 0, 0, 0, 0, 0])[:3]
    rows[:, CUT + 1] = [0.0, 0.3, 0.1]
    strategy = GradNorm(alpha=0.0, learning_rate=0.01)
    rows += 0.01  # every term reaches every variable
    for _ in range(400):
        combined(strategy, rows, values=[1.0, 1.0, 1.0])
    norms = ops.convert_to_numpy(strategy.loss_weights) * np.linalg.norm(rows, axis=1)
    assert norms.max() / norms.min() < 1.1


def test_a_weight_that_a_term_does_not_reach_has_no_part_in_the_norms() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, reference.WIDTH))
    rows[0, CUT:] = 0  # a head of the second term alone
    found, only = GradNorm(alpha=0.0), GradNorm(alpha=0.0)
    combined(found, rows)
    combined(only, np.pad(rows[:, :CUT], ((0, 0), (0, reference.WIDTH - CUT))))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found.loss_weights), ops.convert_to_numpy(only.loss_weights), rtol=1e-6
    )


def test_a_step_that_is_not_finite_moves_nothing() -> None:
    rows = reference.FAMILIES["random 3"].copy()
    strategy = GradNorm()
    combined(strategy, rows)
    before = [ops.convert_to_numpy(one).copy() for one in strategy.variables]
    rows[1, 2] = np.inf
    assert not np.isfinite(combined(strategy, rows)).all()  # the optimizer has to see it
    for variable, kept in zip(strategy.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), kept)


def test_initial_losses_replace_the_first_step_s() -> None:
    strategy = GradNorm(initial_losses={"term0": 2.0, "term1": 0.5})
    rows = reference.FAMILIES["random 2"]
    paper = Paper(1.5, 0.025, np.ones(2), first=np.array([2.0, 0.5]))
    combined(strategy, rows, values=[1.0, 3.0])
    paper.step(rows, np.array([1.0, 3.0]), slice(None))
    np.testing.assert_allclose(ops.convert_to_numpy(strategy.loss_weights), paper.weights, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"alpha": -1.0}, r"GradNorm\(alpha=\.\.\.\) takes 0 or more"),
        ({"alpha": float("nan")}, r"GradNorm\(alpha=\.\.\.\) takes a finite number"),
        ({"learning_rate": 0.0}, r"GradNorm\(learning_rate=\.\.\.\) takes a number above 0"),
        ({"initial_losses": {"term0": -1.0}}, r"GradNorm\(initial_losses=\.\.\.\) takes a number above 0"),
        ({"initial_losses": {"term0": 1.0}}, r"GradNorm\(initial_losses=\.\.\.\) leaves out 'term1'"),
        ({"initial_losses": {"term0": 1.0, "trem1": 1.0}}, r"'trem1', which is no term .* Did you mean 'term1'\?"),
    ],
)
def test_arguments_out_of_range(arguments: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GradNorm(**arguments).prepare(names(2))
