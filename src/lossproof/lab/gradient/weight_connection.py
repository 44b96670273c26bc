"""Whether autodiff connects what a `train_step` or `compute_loss` minimises to the model's weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import FEWEST, Blind, Point, quiet
from lossproof.lab.gradient.trouble import finite
from lossproof.lab.lab import Lab
from lossproof.lab.model import Functional
from lossproof.lab.noise import differs
from lossproof.lab.received import Batch
from lossproof.lab.replace import replaced
from lossproof.lab.step import run_step
from lossproof.lab.weight_gradients import weight_gradients

LOWER = 1024.0
"""By how much a loss is lowered where a `LossScaleOptimizer` would halve its scale until the gradients are finite."""


def blind_to_weights(lab: Lab) -> Blind | None:
    """The proof that the weights get no gradient though the total moves with them; None where they do get one."""
    base = lab.once(captured_point)
    if base is None or not base.dark or not np.isfinite(base.value):
        return None
    points = [base]
    random = np.random.default_rng(0)
    for _ in range(2 * FEWEST):
        moved = [start + random.normal(size=start.shape) * (np.std(start) or 0.1) for start in _start(lab)]
        point = lab.attempt(partial(look_at_weights, lab, moved))
        if point is not None and np.isfinite(point.value):
            if not point.dark:
                return None
            points.append(point)
    far = max(points, key=lambda one: abs(one.value - base.value))
    if len(points) < FEWEST or not differs(base.value, far.value, terms=1024):
        return None
    return Blind(
        before=base.value,
        after=far.value,
        subject="weights",
        moved="at random",
        points=len(points),
        found=_said(points),
        step=None,
        refusal=base.refusal,
    )


def captured_point(lab: Lab) -> Point | None:
    """The total and its gradient for the weights as captured; None where the objective cannot be evaluated."""
    if not lab.capture.training:
        return Point(lab.total, ())
    if not lab.overrides_train_step:
        # What the card shows as well. It is refused where the values leave the backend; then they are let go.
        with suppress(Exception):
            known = Point(lab.total, tuple(lab.once(weight_gradients)))
            return look_at_weights(lab) if overflows(lab, known) else known
    point: Point | None = lab.attempt(lambda: look_at_weights(lab))
    return point or Point(lab.total, ())


def look_at_weights(lab: Lab, weights: list[np.ndarray] | None = None, batch: Batch | None = None) -> Point:
    """The total and its gradient for the trainable weights, at the captured ones or at others.

    Args:
        lab: Of the capture.
        weights: Values for the trainable variables instead of the captured ones.
        batch: Instead of the captured one.

    Raises:
        Whatever the user's code raises.
    """
    batch = batch if batch is not None else lab.batch
    if lab.overrides_train_step:
        point = _look_at_step(lab, weights, batch, 1.0)
        if overflows(lab, point):
            return Point(point.value, _look_at_step(lab, weights, batch, 1.0 / LOWER).gradients)
        return point
    tensors = lab.model.start
    if weights is not None:
        tensors = [lab.backend.tensor(array.astype("float32")) for array in weights]

    def at(scale: float) -> Point:
        def total(*moved: Tensor) -> Tensor:
            return scale * keras.ops.cast(lab.model.objective(batch, list(moved)), "float32")

        with quiet(lab), lab.backend.lenient_conversions():
            value, gradients = lab.backend.gradient(total, tensors)
        found = tuple(None if gradient is None else lab.number(gradient) / scale for gradient in gradients)
        return Point(float(np.sum(lab.number(value))) / scale, found)

    point = at(1.0)
    return at(1.0 / LOWER) if overflows(lab, point) else point


def looking_at(lab: Lab) -> Callable[[Batch], Point]:
    """`look_at_weights` for many batches of the same shapes, in turn."""
    if lab.overrides_train_step:
        return lambda batch: look_at_weights(lab, batch=batch)
    start = list(lab.model.start)
    kept: list[Callable[..., Any]] = []

    def point(batch: Batch) -> Point:
        parts = (batch.x, batch.y, batch.sample_weight)
        tensors = [leaf for leaf in keras.tree.flatten(parts) if leaf is not None]

        def differentiated(*given: Tensor) -> Any:
            leaves = iter(given)
            other = Batch(*keras.tree.map_structure(lambda leaf: None if leaf is None else next(leaves), parts))
            value, found = lab.backend.gradient(
                lambda *moved: keras.ops.cast(lab.model.objective(other, list(moved)), "float32"), start
            )
            return value, [gradient for gradient in found if gradient is not None]

        with quiet(lab), lab.backend.lenient_conversions():
            if not kept:
                kept.append(lab.backend.prepared(differentiated, *tensors))
            value, gradients = kept[0](*tensors)
        found = Point(float(np.sum(lab.number(value))), tuple(lab.number(gradient) for gradient in gradients))
        return look_at_weights(lab, batch=batch) if overflows(lab, found) else found

    return point


def overflows(lab: Lab, point: Point) -> bool:
    """Whether a gradient is not finite where the optimizer would look for a scale of the loss at which it is."""
    scaling = isinstance(getattr(lab.capture.model, "optimizer", None), keras.optimizers.LossScaleOptimizer)
    return scaling and bool(np.isfinite(point.value)) and not finite(point)


def _look_at_step(lab: Lab, weights: list[np.ndarray] | None, batch: Batch, scale: float) -> Point:
    values: list[float] = []
    connected: list[bool | None] = []

    def note(loss: Tensor) -> None:
        values.append(float(np.sum(lab.number(loss))))
        connected.append(lab.backend.connected(loss, ()))

    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(lab.backend.lenient_conversions())
        for owner, name, make in lab.backend.differentiation(note):
            stack.enter_context(replaced(owner, name, make))
        try:
            outcome = run_step(moved_model(lab, weights), batch, scale=scale)
        except Exception as error:
            if not connected or connected[-1] is not False:
                raise
            return Point(sum(values), (None,), type(error).__name__)  # nothing to differentiate: that is the answer
    found = tuple(gradient for applied in outcome.gradients for gradient in applied)
    return Point(sum(outcome.losses), found) if found else Point(np.nan, ())


def _start(lab: Lab) -> list[np.ndarray]:
    return [lab.number(tensor) for tensor in lab.model.start]


def moved_model(lab: Lab, weights: list[np.ndarray] | None) -> Functional:
    """The captured model with other values of its trainable weights."""
    if weights is None:
        return lab.model
    trainable = {id(v): array for v, array in zip(lab.model.trainable, weights, strict=True)}
    known = {id(variable): value for variable, value in lab.model.state}
    values = [
        trainable[id(v)].astype("float32") if id(v) in trainable else np.asarray(lab.backend.numpy(known[id(v)]))
        for v in lab.model.model.variables
    ]
    return Functional(lab.model.model, values)


def _said(points: list[Point]) -> str:
    return "None" if all(gradient is None for point in points for gradient in point.gradients) else "0"
