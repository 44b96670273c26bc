"""From the values that a loss returns to the one number that Keras makes of them, step by step in float64.

With values v_i, sample weights w_i and a mask m_i in {0, 1}, i = 1..n, `sum_over_batch_size` is

    sum_i v_i w_i m_i / sum_i m_i

and `sum` the numerator alone; without a mask m_i = 1, without weights w_i = 1. `mean_with_sample_weight` divides by
sum_i v_i w_i m_i's own weights, sum_i w_i m_i.

Source: keras/src/losses/loss.py, `reduce_weighted_values`, Keras 3.15.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossproof import keras_private
from lossproof.lab.lab import Lab
from lossproof.lab.noise import rounding
from lossproof.lab.subject import LossSubject


@dataclass(frozen=True)
class Chain:
    """The stations of one loss; None where there is nothing to do."""

    raw: float
    masked: float | None
    weighted: float | None
    reduced: float
    """What the reduction makes of it: the loss's value, computed independently of Keras."""
    count: int
    shown: int | None
    mean_weight: float | None


def chain_of(lab: Lab, subject: LossSubject, value: float) -> Chain | None:
    """The stations of a loss that was heard with `value`.

    None where the loss does not say what it does for each sample: a reduction of its own, or another value when it is
    called again.
    """
    reduction = getattr(subject.loss, "reduction", None)
    try:
        with lab.undisturbed():
            tensor = subject.unreduced()
            marks = [keras_private.mask_of(subject.y_pred), keras_private.mask_of(tensor)]
            values = np.asarray(lab.number(tensor), dtype="float64")
            masks = [np.asarray(lab.number(mark)).astype(bool) for mark in marks if mark is not None]
            weights = None if subject.sample_weight is None else lab.number(subject.sample_weight).astype("float64")
        mask = masks[0] if len(masks) == 1 else masks[0] & masks[1] if masks else None
        chain = _chain(values, weights, mask, reduction)
    except Exception:  # whatever the user's loss raises when it is called apart from the rest
        return None
    scale = max(abs(value), float(np.mean(np.abs(values))) if values.size else 0.0)
    agrees = abs(chain.reduced - value) <= 4.0 * rounding("float32", scale, values.size)
    return chain if agrees or (np.isnan(value) and np.isnan(chain.reduced)) else None


def _chain(values: np.ndarray, weights: np.ndarray | None, mask: np.ndarray | None, reduction: str | None) -> Chain:
    raw = float(np.mean(values)) if values.size else 0.0
    masked = shown = None
    if mask is not None:
        masked = _reduced(values, None, mask, "sum_over_batch_size")
        shown = int(np.broadcast_to(_aligned(values, mask)[1], np.broadcast_shapes(*_shapes(values, mask))).sum())
    weighted = None if weights is None else _reduced(values, weights, mask, "sum_over_batch_size")
    return Chain(
        raw=raw,
        masked=masked,
        weighted=weighted,
        reduced=_reduced(values, weights, mask, reduction),
        count=int(values.size),
        shown=shown,
        mean_weight=None if weights is None else float(np.mean(weights)),
    )


def _shapes(values: np.ndarray, other: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    a, b = _aligned(values, other)
    return a.shape, b.shape


def _reduced(values: np.ndarray, weights: np.ndarray | None, mask: np.ndarray | None, reduction: str | None) -> float:
    factor = weights
    if mask is not None:
        share = mask.astype("float64")
        if reduction in ("mean", "sum_over_batch_size"):
            share = share * (mask.size / mask.sum() if mask.any() else 0.0)
        if factor is None:
            factor = share
        else:
            share, factor = _aligned(share, factor)
            factor = share * factor
    if factor is not None:
        values, factor = _aligned(values, factor)
        values = values * factor
    if reduction in ("sum", "none", None):
        return float(np.sum(values))
    divisor: float = values.size
    if reduction == "mean_with_sample_weight" and factor is not None:
        divisor = float(np.sum(factor))
    return float(np.sum(values) / divisor) if divisor else 0.0


def _aligned(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the same rank, as Keras aligns them (losses/loss.py, `squeeze_or_expand_to_same_rank`)."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[..., None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[..., None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b
