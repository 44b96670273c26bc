"""Small quadratic problems, solved by trying every set of active terms at once.

A strategy's problem over K terms is convex, and its solution is that of a linear system over some subset of the terms. With
K small, all 2 ** K systems are solved side by side in one batch and the one that satisfies the conditions of optimality
best is kept: no iteration, no branching on tensors, the same few operations under TensorFlow graphs, XLA, JAX and torch.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from keras import ops

Tensor = Any

LARGEST = 10
"""The most terms for which all subsets are tried: 1024 systems of 10 equations."""

PIVOT = 1e-5
"""The smallest pivot, of a matrix with unit diagonal, that float32 (rounding 6e-8) still tells from 0."""


@functools.cache
def subsets(terms: int) -> np.ndarray:
    """All subsets of the terms as rows of 0 and 1, float32 (2 ** terms, terms); smaller ones first."""
    rows = np.array([[(number >> k) & 1 for k in range(terms)] for number in range(2**terms)], dtype="float32")
    order = np.argsort(rows.sum(axis=1), kind="stable")
    return np.ascontiguousarray(rows[order])


def solve_on_subsets(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """For each subset S the solution x of `matrix[S, S] x[S] = right[S]`, with x = 0 outside of S.

    Gauss-Jordan elimination without exchange of rows, which is stable for a positive semidefinite matrix.

    Args:
        matrix: positive semidefinite (K, K), diagonal about 1, float32.
        right: right-hand sides (K, R), float32.

    Returns:
        The solutions (2 ** K, K, R), and whether each system is regular, (2 ** K,).
    """
    terms = int(matrix.shape[0])
    inside = ops.convert_to_tensor(subsets(terms))
    both = ops.expand_dims(inside, 2) * ops.expand_dims(inside, 1)
    # Outside of S: rows of the identity, with 0 on the right.
    system = both * matrix + ops.expand_dims(1 - inside, 2) * ops.eye(terms, dtype="float32")
    table = ops.concatenate([system, ops.expand_dims(inside, 2) * right], axis=2)
    regular = ops.ones((2**terms,), dtype="bool")
    rows = np.eye(terms, dtype="float32")
    for k in range(terms):
        pivot = table[:, k, k]
        usable = pivot > PIVOT
        regular = regular & usable
        row = table[:, k, :] / ops.expand_dims(ops.where(usable, pivot, ops.ones_like(pivot)), 1)
        here = ops.convert_to_tensor(rows[k][None, :, None])
        factors = table[:, :, k : k + 1] * (1 - here)
        table = table * (1 - here) - factors * ops.expand_dims(row, 1) + here * ops.expand_dims(row, 1)
    return table[:, :, terms:], regular


def pick(candidates: Tensor, violation: Tensor, regular: Tensor) -> Tensor:
    """The candidate (K, ...) of (2 ** K, K, ...) that violates least, among the regular systems.

    Args:
        candidates: one candidate per subset.
        violation: by how much it misses the conditions of optimality, at least 0; (2 ** K,) or (2 ** K, R) for R
            right-hand sides, of which each is picked for itself.
        regular: which to consider, (2 ** K,).
    """
    alone = len(violation.shape) == 1
    if alone:
        violation, candidates = ops.expand_dims(violation, 1), ops.expand_dims(candidates, 2)
    worst = ops.full_like(violation, 3e38)
    violation = ops.where(ops.expand_dims(regular, 1), violation, worst)
    best = ops.argmin(violation, axis=0)
    mask = ops.one_hot(best, int(violation.shape[0]), dtype="float32")  # (R, 2 ** K)
    # where, not a product: a candidate that was not picked may be infinite.
    kept = ops.where(ops.expand_dims(ops.transpose(mask), 1) > 0, candidates, ops.zeros_like(candidates))
    picked = ops.sum(kept, axis=0)
    return picked[:, 0] if alone else picked


def check_count(owner: object, names: tuple[str, ...]) -> None:
    """Raise for more terms than all subsets can be tried of."""
    if len(names) > LARGEST:
        raise ValueError(
            f"{type(owner).__name__} solves its problem exactly by trying every subset of the terms, of which {len(names)} "
            f"have {2 ** len(names)}; it takes at most {LARGEST} terms. Add some terms into one, or take PCGrad."
        )


def norms(gramian: Tensor) -> Tensor:
    """The norms of the gradients (K,), no smaller than 1e-12 of the largest, nor than 1e-19."""
    diagonal = ops.sqrt(ops.maximum(ops.diagonal(gramian), 0.0))
    return ops.maximum(diagonal, ops.maximum(1e-12 * ops.max(diagonal), 1e-19))


def cosines(gramian: Tensor) -> Tensor:
    """C_ij = G_ij / (|g_i| |g_j|): 1 on the diagonal, 0 in the row and column of a zero gradient."""
    inverse = 1 / norms(gramian)
    return gramian * ops.expand_dims(inverse, 0) * ops.expand_dims(inverse, 1)
