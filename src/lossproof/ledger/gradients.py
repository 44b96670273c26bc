"""From the gradients of the parts of a loss to norms, cosines and shares.

With g_k the gradient of part k's contribution with respect to the weights of one variable, everything follows of the
inner products G_kl = <g_k, g_l>, a matrix of K x K for each variable, which add up over the variables of a layer:

    norm of part k:        sqrt(G_kk)
    cosine of k and l:     G_kl / sqrt(G_kk G_ll)
    share of part k:       sum_l G_kl / sum_kl G_kl = <g_k, g> / <g, g>,  g = sum_k g_k
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lossproof.ledger.entry import GradientEntry
from lossproof.objective.trainer import Trainer

REST = "rest"
"""The part of a total that no loss, regularizer or `add_loss` makes."""
ROUNDING = 1e-6
"""Of a squared norm in float32: a rest below this share of what it was taken from is none."""


def gram(rows: Sequence[Sequence[Any]], weights: Sequence[Any]) -> Any:
    """The inner products of the gradients of K parts, shape (P, K, K), float32, for each of P variables.

    Args:
        rows: For each part its gradient for each variable; None where it has none.
        weights: A tensor for each variable.
    """
    if not rows or not weights:
        return None
    products = []
    for k in range(len(weights)):
        column = [row[k] for row in rows]
        known = next((one for one in column if one is not None), None)
        if known is None:
            products.append(keras.ops.zeros((len(rows), len(rows))))
            continue
        flat = [
            keras.ops.zeros((keras.ops.size(known),))
            if one is None
            else keras.ops.reshape(keras.ops.cast(one, "float32"), (-1,))
            for one in column
        ]
        stacked = keras.ops.stack(flat)
        products.append(keras.ops.matmul(stacked, keras.ops.transpose(stacked)))
    return keras.ops.stack(products)


def gradient_entry(
    names: Sequence[str], factors: Sequence[float], products: np.ndarray, with_rest: bool, model: Any
) -> GradientEntry:
    """The tables for one step.

    Args:
        names: Of the parts.
        factors: With which each part enters the total.
        products: Shape (P, R, R), of the parts' gradients without their factors, and last of the total where it is not
            known to be the sum of its parts.
        with_rest: Whether the total is more than its parts.
        model: For the names of layers and weights.
    """
    count = len(names)
    scale = np.asarray(factors, dtype="float64")
    if products.shape[1] > count:  # the total's gradient is the last row
        to_parts = np.zeros((count + 1, count + 1))
        to_parts[:count, :count] = np.diag(scale)
        to_parts[count, :count], to_parts[count, count] = -scale, 1.0
        matrices = to_parts @ products @ to_parts.T
        if not with_rest:
            matrices = matrices[:, :count, :count]
    else:
        matrices, with_rest = np.diag(scale) @ products @ np.diag(scale), False
    if with_rest:  # a difference of large numbers: what rounding may have left is nothing
        size = np.einsum("pkk->p", products) * ROUNDING
        matrices[np.abs(matrices[:, count, count]) <= size, count, :] = 0.0
        matrices[:, :, count] = matrices[:, count, :]
    parts = (*names, REST) if with_rest else tuple(names)
    groups, members = _groups(model)
    by_group = [matrices[index].sum(axis=0) for index in members]
    whole = matrices.sum(axis=0)
    driven = [bool(np.any(np.diagonal(one) != 0.0)) for one in matrices]
    paths = [str(variable.path) for variable in model.trainable_variables]
    return GradientEntry(
        parts=tuple(parts),
        groups=tuple(groups),
        norms=tuple(_norms(one) for one in by_group),
        norm=_norms(whole),
        cosines=_cosines(whole),
        shares=tuple(_shares(one) for one in by_group),
        share=_shares(whole),
        undriven=tuple(path for path, is_driven in zip(paths, driven, strict=True) if not is_driven),
    )


def _norms(matrix: np.ndarray) -> tuple[float, ...]:
    return tuple(float(one) for one in np.sqrt(np.maximum(np.diagonal(matrix), 0.0)))


def _cosines(matrix: np.ndarray) -> tuple[tuple[float | None, ...], ...]:
    norms = _norms(matrix)
    return tuple(
        tuple(
            float(np.clip(matrix[k, j] / (norms[k] * norms[j]), -1.0, 1.0)) if norms[k] and norms[j] else None
            for j in range(len(norms))
        )
        for k in range(len(norms))
    )


def _shares(matrix: np.ndarray) -> tuple[float | None, ...]:
    whole = float(matrix.sum())
    return tuple(float(one) / whole if whole > 0.0 else None for one in matrix.sum(axis=1))


def _layers(model: Any) -> list[Any]:
    """The layers of the user's model: those of a Trainer are the model itself and what weighs its terms."""
    if not isinstance(model, Trainer):
        return list(model.layers)
    return [*model.model.layers, *(layer for layer in model.layers if layer is not model.model)]


def _groups(model: Any) -> tuple[list[str], list[list[int]]]:
    """The layers of the model, in its order, with the positions of their trainable variables."""
    owner: dict[int, str] = {}
    for layer in _layers(model):
        for variable in layer.trainable_variables:
            owner.setdefault(id(variable), layer.name)
    names: list[str] = []
    members: dict[str, list[int]] = {}
    for position, variable in enumerate(model.trainable_variables):
        name = owner.get(id(variable), model.name)
        if name not in members:
            names.append(name)
            members[name] = []
        members[name].append(position)
    return names, [members[name] for name in names]
