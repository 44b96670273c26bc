"""Gradients to combine, and what the papers' formulas make of them in NumPy float64, by methods that are not ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize, nnls

WIDTH = 11


def families() -> dict[str, np.ndarray]:
    """Gradients by kind: K rows of WIDTH numbers."""
    rng = np.random.default_rng(3)
    made: dict[str, np.ndarray] = {}
    for terms in (2, 3, 5):
        made[f"random {terms}"] = rng.normal(size=(terms, WIDTH))
        made[f"agreeing {terms}"] = np.abs(rng.normal(size=(terms, WIDTH)))
        base = rng.normal(size=WIDTH)
        signs = np.where(np.arange(terms) % 2, -1.0, 1.0)[:, None]
        made[f"conflicting {terms}"] = signs * base + 0.4 * rng.normal(size=(terms, WIDTH))
        made[f"badly scaled {terms}"] = rng.normal(size=(terms, WIDTH)) * np.logspace(-4, 4, terms)[:, None]
        made[f"parallel {terms}"] = np.outer(np.arange(1.0, terms + 1), base)
    made["opposite"] = np.stack([base, -2.0 * base])
    made["one zero"] = np.stack([base, np.zeros(WIDTH), rng.normal(size=WIDTH)])
    made["all zero"] = np.zeros((3, WIDTH))
    made["more terms than weights"] = np.pad(rng.normal(size=(5, 3)), ((0, 0), (0, WIDTH - 3)))
    made["ten terms"] = rng.normal(size=(10, WIDTH)) - 0.2
    return made


FAMILIES = families()


def surgery(gradients: np.ndarray, orders: Sequence[Sequence[int]]) -> np.ndarray:
    """PCGrad, algorithm 1, on the vectors themselves; `orders[i]` is the order of projections of g_i."""
    total = np.zeros(gradients.shape[1])
    for i, order in enumerate(orders):
        mine = gradients[i].copy()
        for j in order:
            if j != i and (product := mine @ gradients[j]) < 0:
                mine -= product / (gradients[j] @ gradients[j]) * gradients[j]
        total += mine
    return total


def projected_mean(gradients: np.ndarray) -> np.ndarray:
    """UPGrad: the mean of the projections onto the dual cone; each by non-negative least squares.

    By Moreau's decomposition the projection of x is x minus its projection onto the polar cone, which is spanned by the
    negatives of the gradients.
    """
    scale = np.linalg.norm(gradients, axis=1, keepdims=True)
    rays = gradients / np.where(scale > 0, scale, 1.0)
    total = np.zeros(gradients.shape[1])
    for gradient, size in zip(rays, scale[:, 0], strict=True):
        pushes, _ = nnls(-rays.T, gradient)
        total += size * (gradient + rays.T @ pushes)
    return total / len(gradients)


def shortest(gradients: np.ndarray) -> np.ndarray:
    """MGDA: the min-norm point of the hull, by non-negative least squares on [J^T; s 1^T] a = [0; s]."""
    sizes = np.linalg.norm(gradients, axis=1)
    if sizes.min() == 0:
        return np.zeros(gradients.shape[1])
    row = np.full((1, len(gradients)), sizes.min())
    shares, _ = nnls(np.concatenate([gradients.T, row]), np.append(np.zeros(gradients.shape[1]), sizes.min()))
    return gradients.T @ (shares / shares.sum())


def dual_of_cagrad(gradients: np.ndarray, c: float) -> float:
    """The least of g_w . g_0 + c |g_0| |g_w| over the simplex, by SLSQP from several starts, as the paper's code does."""
    mean = gradients.mean(axis=0)
    radius = c * np.linalg.norm(mean)

    def value(w: np.ndarray) -> float:
        return float(w @ gradients @ mean + radius * np.linalg.norm(w @ gradients))

    terms = len(gradients)
    starts = [np.full(terms, 1 / terms), *(0.9 * row + 0.1 / terms for row in np.eye(terms))]
    limits = {"bounds": [(0, 1)] * terms, "constraints": {"type": "eq", "fun": lambda w: w.sum() - 1}}
    found = [
        minimize(value, start, method="SLSQP", options={"ftol": 1e-15, "maxiter": 500}, **limits) for start in starts
    ]
    return min([value(one.x) for one in found if one.success] + [value(row) for row in np.eye(terms)])
