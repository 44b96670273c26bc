"""Wrong predictions that get no gradient: what of a loss is out of reach of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.bounds import right_predictions, span_of
from lossproof.lab.gradient.level import without_gradient
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, look, tensor_like, with_float_leaves
from lossproof.lab.received import Batch
from lossproof.lab.subject import Subject, take

MOST = 0.25
"""The share, of all by which the loss could fall, that must be out of reach."""
MANY = 0.2
"""The share of the wrong predictions that must be dead; fewer may be drawn along by the others."""
FEWEST = 4
"""Predictions that must be dead."""


@dataclass(frozen=True)
class Saturated:
    """The proof that most of what there is to learn gets no gradient."""

    where: Literal["loss", "output", "both", "everywhere", "constant"]
    """Where the derivative vanishes: in the loss, in the output that makes the predictions, or in both; in the loss for
    every prediction, whatever is right; or at all predictions that were tried, by a loss that never moves."""
    dead: int
    """Wrong predictions without a gradient."""
    wrong: int
    """All predictions that could be better."""
    value: float
    """The loss as captured."""
    mended: float
    """With the dead predictions moved onto their targets."""
    perfect: float
    """With all of them there."""
    low: float
    high: float
    """The range of the dead predictions."""
    slope: float = 0.0
    """The norm of the gradient for the predictions."""
    how: str = ""
    """How they were moved, where not onto their targets."""

    @property
    def share(self) -> float:
        """Of all by which the loss could fall, the part that gets no gradient."""
        return (self.value - self.mended) / (self.value - self.perfect) if self.value != self.perfect else 0.0


def saturated(lab: Lab, subject: Subject) -> Saturated | None:
    """The proof for one loss; None where the wrong predictions are pulled, or cannot be told."""
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    targets = right_predictions(lab, subject, leaves)
    if len(leaves) != 1 or not np.isfinite(leaves[0]).all():
        return None
    if targets is None or not np.isfinite(targets[0]).all():
        return None
    here, right = leaves[0], targets[0]
    base = lab.attempt(lambda: look(lab, subject, leaves))
    gradient = base.gradients[0] if base is not None else None
    if base is None or gradient is None or not np.isfinite(base.value) or not np.isfinite(gradient).all():
        return None
    dark = (gradient == 0.0) & (here != right)
    if int(dark.sum()) >= FEWEST and not dark.all(where=here != right):
        return _in_the_loss(lab, subject, here, right, gradient, dark)
    if gradient.any() and lab.capture.model is not None:
        return _in_the_output(lab, subject, here, right, gradient)
    if int(dark.sum()) < FEWEST:
        return None
    return _in_the_loss(lab, subject, here, right, gradient, dark) or _in_both(lab, subject, here, right, dark)


def _value(lab: Lab, subject: Subject, predictions: np.ndarray) -> float:
    like = float_leaves(lab, subject)[0]
    moved = with_float_leaves(lab, subject, [tensor_like(lab, predictions, like)])
    found = lab.attempt(lambda: lab.value(moved))
    return np.nan if found is None else found


def _in_the_loss(
    lab: Lab, subject: Subject, here: np.ndarray, right: np.ndarray, gradient: np.ndarray, dark: np.ndarray
) -> Saturated | None:
    value, perfect = _value(lab, subject, here), _value(lab, subject, right)
    if not perfect < value or not differs(perfect, value, terms=here.size):
        return None
    improvable = dark & _improvable(lab, subject, here, right, dark)
    if improvable.any() and _flat(lab, subject, improvable):
        return None  # the output makes nothing of a gradient there, whatever the loss
    mended = _value(lab, subject, np.where(improvable, right, here))
    count, wrong = int(improvable.sum()), int((improvable | (gradient != 0.0)).sum())
    if not np.isfinite(mended) or count < FEWEST or count < MANY * wrong or value - mended <= MOST * (value - perfect):
        return None
    if not _dark_for_all_targets(lab, subject, here, improvable) or not _out_of_reach(lab, subject, improvable):
        return None
    low, high = float(here[improvable].min()), float(here[improvable].max())
    return Saturated("loss", count, wrong, value, mended, perfect, low, high)


def _flat(lab: Lab, subject: Subject, dead: np.ndarray) -> bool:
    """Whether the predictions without a gradient are where the model's output is flat itself, as a relu that is off."""
    if lab.capture.model is None or lab.overrides_train_step:
        return False
    outputs = [id(leaf) for leaf in keras.tree.flatten(lab.forward.y_pred)]
    leaf = float_leaves(lab, subject)[0]
    if id(leaf) not in outputs:
        return False
    shares = np.random.default_rng(0).uniform(0.5, 1.5, size=dead.shape)  # alike, the sum of a softmax would not move
    mark = lab.backend.tensor((dead * shares).astype("float32"))

    def total(*weights: Tensor) -> Tensor:
        with lab.model.scope(list(weights)):
            output = keras.tree.flatten(lab.model.forward(lab.batch.x).y_pred)[outputs.index(id(leaf))]
        return keras.ops.sum(keras.ops.cast(output, "float32") * mark)

    def experiment() -> bool:
        with quiet(lab):
            _, gradients = lab.backend.gradient(total, lab.model.start)
        return all(gradient is None or not lab.number(gradient).any() for gradient in gradients)

    return bool(lab.attempt(experiment))


def _improvable(lab: Lab, subject: Subject, here: np.ndarray, right: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """Which predictions, moved onto their targets, lower their row's loss; all, where the rows cannot be told apart."""

    def rows(predictions: np.ndarray) -> np.ndarray | None:
        like = float_leaves(lab, subject)[0]
        moved = with_float_leaves(lab, subject, [tensor_like(lab, predictions, like)])
        found = lab.attempt(lambda: lab.unreduced(moved))
        if found is None or found.ndim == 0 or len(found) != len(here):
            return None
        summed: np.ndarray = found.reshape(len(here), -1).sum(axis=1)
        return summed

    before = rows(here) if here.ndim == 2 else None
    if before is None:
        return np.ones_like(dark)
    result = np.zeros_like(dark)
    for k in np.flatnonzero(dark.any(axis=0))[:8]:
        moved = here.copy()
        moved[:, k] = np.where(dark[:, k], right[:, k], here[:, k])
        after = rows(moved)
        if after is not None:
            result[:, k] = after < before - 1e-6 * np.abs(before)
    whole = np.asarray(dark.all(axis=1))  # where no part of a row can help alone, the whole row may
    together = rows(np.where(whole[:, None], right, here)) if whole.any() else None
    if together is not None:
        result |= np.asarray(whole & (together < before - 1e-6 * np.abs(before)))[:, None]
    return result


def _dark_for_all_targets(lab: Lab, subject: Subject, here: np.ndarray, dead: np.ndarray) -> bool:
    """Whether it is the prediction that kills the gradient, not its distance from the target, as a robust loss does."""
    for shift in range(1, 4):
        rows = np.roll(np.arange(len(here)), shift)
        other = subject.changed(y_true=take(subject.y_true, rows))
        point = lab.attempt(lambda other=other: look(lab, other, [here]))  # type: ignore[misc]
        if point is None or point.gradients[0] is None or point.gradients[0][dead].any():
            return False
    return True


def _out_of_reach(lab: Lab, subject: Subject, dead: np.ndarray) -> bool:
    """Whether the rows that are dead as a whole move no weight: TensorFlow's Keras goes back to logits behind them."""
    rows = np.flatnonzero(dead.reshape(len(dead), -1).all(axis=1))
    if lab.capture.model is None or not lab.backend.looks_through_predictions:
        return True
    if not len(rows) or lab.forward_losses or lab.overrides_train_step:
        return False
    index = np.resize(rows, subject.batch_size)
    part = Batch(*(take(data, index) for data in (lab.batch.x, lab.batch.y, lab.batch.sample_weight)))

    def total(*weights: Tensor) -> Tensor:
        return lab.model.objective(part, list(weights))

    def experiment() -> bool:
        with quiet(lab):
            _, gradients = lab.backend.gradient(total, lab.model.start)
        return all(gradient is None or not lab.number(gradient).any() for gradient in gradients)

    return bool(lab.attempt(experiment))


def _in_both(lab: Lab, subject: Subject, here: np.ndarray, right: np.ndarray, dark: np.ndarray) -> Saturated | None:
    """All weights without a gradient: each wrong prediction lies where the loss is flat and its activation as well."""
    if lab.capture.model is None or not _flat(lab, subject, dark) or not without_gradient(lab):
        return None
    value, perfect = _value(lab, subject, here), _value(lab, subject, right)
    if not perfect < value or not differs(perfect, value, terms=here.size):
        return None
    if not _dark_for_all_targets(lab, subject, here, dark):
        return None
    low, high = float(here[dark].min()), float(here[dark].max())
    return Saturated("both", int(dark.sum()), int(dark.sum()), value, perfect, perfect, low, high)


def _in_the_output(
    lab: Lab, subject: Subject, here: np.ndarray, right: np.ndarray, gradient: np.ndarray
) -> Saturated | None:
    """No weight with a gradient of the loss, though it pulls at the predictions: the output lies on its flat part."""
    heads = [leaf for leaf in keras.tree.flatten(lab.forward.y_pred) if leaf is not None]
    value, perfect = _value(lab, subject, here), _value(lab, subject, right)
    if len(heads) != 1 or not perfect < value or not differs(perfect, value, terms=here.size):
        return None
    pulled = gradient != 0.0
    if not lab.model.start or not (without_gradient(lab) or _flat(lab, subject, pulled)):
        return None
    return Saturated(
        where="output",
        dead=int(pulled.sum()),
        wrong=int(pulled.sum()),
        value=value,
        mended=perfect,
        perfect=perfect,
        low=float(here[pulled].min()),
        high=float(here[pulled].max()),
        slope=float(np.sqrt(np.sum(gradient**2))),
    )


STEPS = (0.01, 0.1, 1.0)
"""Of a move along the gradient: the root mean square, in units of the predictions' own, or of 1 where they are 0."""


def off_the_slope(lab: Lab, subject: Subject) -> Saturated | None:
    """The same where nothing says what is right: no weight has a gradient, and the output can give what the loss wants.

    Such predictions lie down the loss's own gradient, between the least and the largest that the output gives with other weights.
    """
    heads = [leaf for leaf in keras.tree.flatten(lab.forward.y_pred) if leaf is not None]
    if lab.capture.model is None or len(heads) != 1 or not lab.model.start or not without_gradient(lab):
        return None
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    base = lab.attempt(lambda: look(lab, subject, leaves)) if len(leaves) == 1 else None
    gradient = base.gradients[0] if base is not None else None
    if base is None or gradient is None or not np.isfinite(gradient).all() or not gradient.any():
        return None
    here = leaves[0]
    span: tuple[float, float] | None = lab.attempt(lambda: span_of(lab, subject)[0])
    if span is None:
        return None
    size = float(np.sqrt(np.mean(here**2))) or 1.0
    down = -gradient / float(np.sqrt(np.mean(gradient**2))) * size
    moved = [np.clip(here + step * down, *span) for step in STEPS]
    values = [(_value(lab, subject, there), there) for there in moved if not np.array_equal(there, here)]
    values = [one for one in values if one[0] < base.value and differs(one[0], base.value, terms=here.size)]
    if not values:
        return None
    value, there = min(values, key=lambda one: one[0])
    pulled = there != here
    return Saturated(
        where="output",
        dead=int(pulled.sum()),
        wrong=int(pulled.sum()),
        value=base.value,
        mended=value,
        perfect=value,
        low=float(here[pulled].min()),
        high=float(here[pulled].max()),
        slope=float(np.sqrt(np.sum(gradient**2))),
        how="moved down the gradient of the loss, to what the output can give",
    )
