"""Predictions that are right and as sure as the output can be: where training leads.

Whether an output has bounds is measured, not read off its activation: the weights of its last layer are scaled up until
the predictions stop changing. A sigmoid is exactly 1 in float32 from a logit of 17 on, a softmax likewise; a relu is
exactly 0 for every negative input. What tends to 0 without end on one side only (softplus, exp) is not counted: no
training gets there.

Only right predictions are tried. Sure and wrong ones, on which a logarithm without an epsilon is infinite, are met on
data with wrong labels, but nothing here can tell how far training would go against its own gradient.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.evaluation import evaluate
from lossproof.lab.lab import Lab
from lossproof.lab.predictions import float_leaves
from lossproof.lab.subject import Subject

SCALES = (2.0**16, 2.0**20)
"""Large enough for any logit that is not zero, small enough for float32."""
LAYERS = 8
"""How far back the layer that makes an output is looked for."""


@dataclass(frozen=True)
class Confident:
    """Some of the predictions, drawn at random, moved onto their targets."""

    leaves: list[np.ndarray]
    nearly: list[np.ndarray]
    """The same, a thousandth of the way back."""
    moved: list[np.ndarray]
    """Which ones, of bool."""


def confident(
    lab: Lab, subject: Subject, bounds: list[np.ndarray] | None = None, share: float = 0.5
) -> Confident | None:
    """The subject's predictions, some of them right and sure; None where no target says what is right.

    Args:
        lab: Of the capture.
        subject: With the targets.
        bounds: For each prediction tensor the values at which it saturates; only targets there are moved onto. None to
            move onto all.
        share: How many of the predictions are moved.
    """
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    targets = right_predictions(lab, subject, leaves)
    if targets is None:
        return None
    random = np.random.default_rng(0)
    moved, sure, nearly = [], [], []
    for i, (leaf, target) in enumerate(zip(leaves, targets, strict=True)):
        half = (random.random(leaf.shape) < share) & np.isfinite(target)
        if bounds is not None:
            half &= np.isin(target, bounds[i])
        # Off the bound, and inside: between what is right and what was predicted, or the middle if that is the same.
        inside = np.where(leaf == target, np.mean(bounds[i]) if bounds and bounds[i].size > 1 else target + 1.0, leaf)
        moved.append(half)
        sure.append(np.where(half, target, leaf))
        nearly.append(np.where(half, target + 1e-3 * (inside - target), leaf))
    return Confident(sure, nearly, moved) if any(half.any() for half in moved) else None


def bounds_of(lab: Lab, subject: Subject) -> list[np.ndarray]:
    """For each prediction tensor, the values that it takes on exactly as its layer's weights grow; mostly none."""
    here = _predictions(lab, subject, None, 1.0)
    found = [np.array([]) for _ in here]
    open_ends = set(range(len(here)))
    for layer in _layers(lab)[:LAYERS]:
        far = {sign: _predictions(lab, subject, layer, sign * SCALES[0]) for sign in (1.0, -1.0)}
        moved = [i for i in open_ends if any(not np.array_equal(far[sign][i], here[i]) for sign in far)]
        if not moved:
            continue
        farther = {sign: _predictions(lab, subject, layer, sign * SCALES[1]) for sign in (1.0, -1.0)}
        mirrored = _predictions(lab, subject, layer, -1.0)
        for i in moved:
            found[i] = _settled(here[i], mirrored[i], [far[s][i] for s in far], [farther[s][i] for s in far])
        open_ends -= set(moved)
        if not open_ends:
            break
    return found


def span_of(lab: Lab, subject: Subject) -> list[tuple[float, float]]:
    """For each prediction tensor the least and the largest finite number that was met as its layers' weights grow."""
    seen = [_predictions(lab, subject, None, 1.0)]
    for layer in _layers(lab)[:LAYERS]:
        seen += [_predictions(lab, subject, layer, sign * scale) for sign in (1.0, -1.0) for scale in (1.0, SCALES[0])]
    ends = []
    for leaves in zip(*seen, strict=True):
        finite = [leaf[np.isfinite(leaf)] for leaf in leaves]
        ends.append((min(float(one.min()) for one in finite), max(float(one.max()) for one in finite)))
    return ends


def the_same_for_other_weights(lab: Lab, subject: Subject) -> bool:
    """Whether no layer's weights, turned round or scaled up, change a prediction: a softmax over a single unit is 1."""
    here = _predictions(lab, subject, None, 1.0)
    for layer in _layers(lab):
        for scale in (-1.0, SCALES[0]):
            there = _predictions(lab, subject, layer, scale)
            if not all(np.array_equal(one, other) for one, other in zip(here, there, strict=True)):
                return False
    return bool(here)


def reached(lab: Lab, subject: Subject, bounds: list[np.ndarray]) -> list[np.ndarray]:
    """Those of the bounds that training gets to: at twice the weights with which the first prediction is on one.

    A sigmoid is 1 from a logit of 17 on, and there its slope is 0, which ends the training; 0 it is from -104 on. A relu
    is 0 as it is.
    """
    here, layers = _predictions(lab, subject, None, 1.0), []
    for layer in _layers(lab)[:LAYERS]:
        layers.append(layer)
        mirrored = _predictions(lab, subject, layer, -1.0)
        if not any(np.array_equal(one, other) for one, other in zip(here, mirrored, strict=True)):
            break

    def there(exponent: int) -> list[list[np.ndarray]]:
        signs = (2.0**exponent, -(2.0**exponent))
        return [_predictions(lab, subject, layer, sign) for layer in layers for sign in signs]

    def any_at(found: list[list[np.ndarray]]) -> bool:
        return any(np.isin(leaf, ends).any() for leaves in found for leaf, ends in zip(leaves, bounds, strict=True))

    low, high = 0, int(np.log2(SCALES[0]))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if any_at(there(middle)) else (middle + 1, high)
    found = there(low + 1)
    return [
        np.array([value for value in values if any((leaves[i] == value).any() for leaves in found)])
        for i, values in enumerate(bounds)
    ]


def passes(lab: Lab, subject: Subject, values: list[np.ndarray]) -> bool | None:
    """Whether a gradient of NaN at predictions of these values (for each prediction tensor) gets as far as the weights.

    A sigmoid multiplies it by its own slope of 0, which leaves NaN; a relu that is off selects 0 instead. Measured
    where `bounds_of` measures: with the weights of the output's layer scaled up.

    Returns:
        None where no prediction takes on such a value, or the predictions are not outputs of the model.
    """
    outputs = [id(leaf) for leaf in keras.tree.flatten(lab.forward.y_pred)]
    positions = [outputs.index(id(leaf)) for leaf in float_leaves(lab, subject) if id(leaf) in outputs]
    if len(positions) != len(values):
        return None

    def predictions(weights: list[Tensor]) -> list[Tensor]:
        with lab.model.scope(weights):
            flat = keras.tree.flatten(lab.model.forward(lab.batch.x).y_pred)
        return [flat[i] for i in positions]

    for layer in _layers(lab)[:LAYERS]:
        for scale in (SCALES[0], -SCALES[0]):
            weights = [tensor * (scale if i in layer else 1.0) for i, tensor in enumerate(lab.model.start)]
            with quiet(lab):
                there = [lab.number(leaf) for leaf in predictions(weights)]
                marks = [np.where(np.isin(leaf, v), np.nan, 0.0) for leaf, v in zip(there, values, strict=True)]
                if not any(np.isnan(mark).any() for mark in marks):
                    continue
                tensors = [lab.backend.tensor(mark.astype("float32")) for mark in marks]

                def total(*moved: Tensor, tensors: list[Tensor] = tensors) -> Tensor:
                    pairs = zip(predictions(list(moved)), tensors, strict=True)
                    return sum(keras.ops.sum(keras.ops.cast(leaf, "float32") * mark) for leaf, mark in pairs)

                _, gradients = lab.backend.gradient(total, weights)
            return any(not np.isfinite(lab.number(one)).all() for one in gradients if one is not None)
    return None


def _settled(here: np.ndarray, mirrored: np.ndarray, far: list[np.ndarray], farther: list[np.ndarray]) -> np.ndarray:
    if any(one.shape != here.shape for one in (mirrored, *far, *farther)):
        return np.array([])
    ends = []
    for one, two in zip(far, farther, strict=True):
        still = (one == two) & np.isfinite(one)
        ends.append(one[still & ((one != here) | (one == mirrored))])
    values, counts = np.unique(np.concatenate(ends), return_counts=True)
    values = values[counts > 1]  # what two predictions share is a bound; a direction, say, is each one's own
    if values.size and any(((two < values[0]) | (two > values[-1])).any() for two in farther):
        # Open on one side: what counts is attained as it is, not in the limit.
        values = np.array([v for v in values if (here == v).any() or (mirrored == v).any()])
    return values


def _layers(lab: Lab) -> list[list[int]]:
    """The trainable variables, as positions, grouped by the layer that owns them; the last layer first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, variable in enumerate(lab.model.trainable):
        groups[variable.path.rpartition("/")[0]].append(i)
    return list(groups.values())[::-1]


def _predictions(lab: Lab, subject: Subject, layer: list[int] | None, scale: float) -> list[np.ndarray]:
    """The prediction tensors of a subject with the weights of a layer multiplied by `scale`."""
    if layer is None:
        return [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    model = lab.model.scaled({id(lab.model.trainable[i]) for i in layer}, scale)
    heard = evaluate(model, lab.batch, lab.overrides_train_step)
    if subject is lab.objective:
        tensors: list[Tensor] = keras.tree.flatten(heard.forward.y_pred if heard.forward is not None else None)
    else:
        position = next(i for i, loss in enumerate(lab.losses) if loss is subject)
        tensors = keras.tree.flatten(heard.losses[position].y_pred)
    return [lab.number(leaf) for leaf in tensors if "float" in keras.backend.standardize_dtype(leaf.dtype)]


def right_predictions(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> list[np.ndarray] | None:
    """The right predictions, shaped as the predictions; None where the targets do not say."""
    targets = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if lab.backend.is_tensor(leaf)]
    if len(targets) != len(leaves):
        return None
    found = []
    for leaf, target in zip(leaves, targets, strict=True):
        if target.dtype.kind not in "fiub":
            return None
        if target.size == leaf.size:
            found.append(target.reshape(leaf.shape).astype("float64"))
        elif leaf.ndim and target.size * leaf.shape[-1] == leaf.size:
            found.append(_one_hot(target, leaf.shape))
        else:
            return None
    return found


def _one_hot(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    classes = target.reshape(shape[:-1])
    valid = (classes >= 0) & (classes < shape[-1]) & (classes == np.floor(classes))
    hot = (np.arange(shape[-1]) == np.where(valid, classes, -1)[..., None]).astype("float64")
    return np.where(valid[..., None], hot, np.nan)
