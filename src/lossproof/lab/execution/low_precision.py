"""What half precision does to an objective: against the same objective in float32, on the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from lossproof.findings.finding import Severity
from lossproof.lab.blind import Point
from lossproof.lab.execution.precision import EPSILON, half_of, in_single, rounded_targets, single_precision
from lossproof.lab.gradient.births import birth_in_model, birth_of_gradient, birth_of_value
from lossproof.lab.gradient.trouble import Trouble, finite, kind_of, measure
from lossproof.lab.gradient.troubles import troubles
from lossproof.lab.gradient.weight_connection import captured_point, look_at_weights, overflows
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.minimised import minimised
from lossproof.lab.model import Functional
from lossproof.lab.predictions import float_leaves, look_here, tensor_like, with_float_leaves
from lossproof.lab.step import run_step
from lossproof.lab.subject import StepSubject, Subject

Kind = Literal["not finite", "targets", "arithmetic", "unscaled", "underflow"]
NUDGES = 4
SCALE = 1024.0
"""By which a loss is multiplied to lift its gradients out of the range where float16 has no numbers."""


@dataclass(frozen=True)
class Low:
    """An objective that half precision spoils."""

    kind: Kind
    dtype: str
    subject: Subject | None
    severity: Severity
    before: float
    after: float
    """In float32; for `unscaled` with a scale of 1, for `underflow` with a scaled loss."""
    where: Event | None = None
    trouble: Trouble | None = None
    gradient: bool = False
    """Whether it is the gradient that is not finite, not the value."""
    rounded: float | None = None
    """In float32, but with targets that have been through half precision."""
    scale: float | None = None
    weights: tuple[str, ...] = ()
    """The weights whose gradient is lost."""


def low_precision(lab: Lab) -> tuple[Low, ...]:
    """What was found; the first kind that there is of each subject."""
    dtype = half_of(lab)
    if dtype is None:
        return ()
    found = list(_not_finite(lab, dtype))
    if not found:
        found = [low for one in lab.once(minimised) for low in [lab.attempt(partial(_wrong, lab, one))] if low]
    if not found and lab.capture.training and dtype == "float16":
        for experiment in (_unscaled, _underflow):
            low = lab.attempt(partial(experiment, lab, dtype))
            found += [low] if low is not None and not found else []
    return tuple(found)


# NaN and Inf -----------------------------------------------------------------------------------------------------------


def _not_finite(lab: Lab, dtype: str) -> Iterator[Low]:
    """What is not finite in half precision, and finite in float32: on the captured batch, or where troubles were found."""
    seen = False
    for subject in lab.once(minimised):
        low = lab.attempt(partial(_not_finite_here, lab, subject, dtype)) if not seen else None
        if low is not None:
            seen = True
            yield low
    whole = lab.attempt(partial(_whole_not_finite, lab, dtype)) if not seen else None
    if whole is not None:
        seen = True
        yield whole
    for trouble in lab.once(troubles) if not seen else ():
        after = lab.attempt(partial(_cured, lab, trouble))
        if after is not None:
            yield Low(
                "not finite",
                dtype,
                trouble.subject,
                trouble.severity,
                trouble.cure.before,
                after,
                trouble=trouble,
                gradient=trouble.kind == "gradient",
            )


def _not_finite_here(lab: Lab, subject: Subject, dtype: str) -> Low | None:
    step = isinstance(subject, StepSubject)
    point = Point(lab.value(subject), ()) if step else look_here(lab, subject)
    kind = kind_of(point)
    if kind is None or overflows(lab, point):
        return None
    with single_precision(lab):
        single = in_single(lab, subject)
        other = Point(lab.value(single), ()) if step else look_here(lab, single)
    if not finite(other):
        return None
    birth = birth_of_value if kind == "value" else birth_of_gradient
    event = None if step else birth(lab, subject)
    before, after = measure(point, kind), measure(other, kind)
    return Low("not finite", dtype, subject, Severity.ERROR, before, after, event, gradient=kind == "gradient")


def _whole_not_finite(lab: Lab, dtype: str) -> Low | None:
    """An `add_loss`, a penalty or a layer that is not finite, though each loss is finite on what it receives."""
    point = captured_point(lab) if not lab.overrides_train_step else None
    kind = kind_of(point) if point is not None else None
    if point is None or kind is None:
        return None
    with single_precision(lab):
        other = look_at_weights(lab)
    if not finite(other):
        return None
    event = birth_in_model(lab, lab.batch, kind)
    before, after = measure(point, kind), measure(other, kind)
    return Low("not finite", dtype, None, Severity.ERROR, before, after, event, gradient=kind == "gradient")


def _cured(lab: Lab, trouble: Trouble) -> float | None:
    subject = trouble.subject
    if trouble.arrived is not None and trouble.arrived != "targets":
        return None
    with single_precision(lab):
        if subject is not None:
            # Of other rows than the captured ones it is not known what was passed for them.
            single = in_single(lab, subject, exact_targets=trouble.reach == "captured")
            point = look_here(lab, single)
        elif trouble.reach == "captured":
            point = look_at_weights(lab)
        else:
            return None
    return measure(point, trouble.kind) if finite(point, trouble.kind) else None


# Another number --------------------------------------------------------------------------------------------------------


def _wrong(lab: Lab, subject: Subject) -> Low | None:
    """A value that half precision changes by more than half of its digits, and more than its inputs' last place explains."""
    dtype = half_of(lab)
    assert dtype is not None
    low = lab.value(subject)
    if lab.value(subject) != low or not np.isfinite(low):
        return None
    here = None if isinstance(subject, StepSubject) else lab.attempt(partial(_gradient, lab, subject))
    with single_precision(lab):
        single = in_single(lab, subject)
        exact = lab.value(single)
        if not np.isfinite(exact) or low == exact:
            return None
        rounded = lab.attempt(lambda: lab.value(rounded_targets(lab, single, dtype)))
        by_targets = rounded is not None and abs(rounded - low) < abs(low - exact)
        tolerance = float(np.sqrt(EPSILON[dtype])) * abs(exact)
        another = abs(low - exact) > tolerance
        another = another and abs(low - exact) > tolerance + 8.0 * _spread(lab, single, exact, dtype)
        if not another:
            by_targets = here is not None and bool(lab.attempt(partial(_turned, lab, here, single, dtype)))
        if not another and not by_targets:
            return None
    event = None
    if not isinstance(subject, StepSubject):
        event = lab.attempt(partial(_parting, lab, subject, single, dtype))
    kind: Kind = "targets" if by_targets else "arithmetic"
    return Low(kind, dtype, subject, Severity.ERROR, low, exact, event, rounded=rounded)


def _gradient(lab: Lab, subject: Subject) -> np.ndarray:
    return np.concatenate([g.ravel() for g in look_here(lab, subject).gradients if g is not None]).astype("float64")


def _turned(lab: Lab, here: np.ndarray, single: Subject, dtype: str) -> bool:
    """Whether the targets have been through half precision, and that gives the predictions another gradient.

    Over a batch a value may be much the same, though each row is held against another row's target. Which targets a
    loss has used, its gradient in half precision (`here`) tells, by being nearer to theirs in float32.
    """
    own, other = _gradient(lab, single), _gradient(lab, rounded_targets(lab, single, dtype))
    size, off = float(np.linalg.norm(own)), float(np.linalg.norm(other - own))
    if not off > float(np.sqrt(EPSILON[dtype])) * size or np.linalg.norm(here - own) < np.linalg.norm(here - other):
        return False
    random = np.random.default_rng(0)
    leaves = float_leaves(lab, single)
    spread = 0.0
    for _ in range(NUDGES):
        tensors = [tensor_like(lab, _nudged(lab.number(leaf), random, EPSILON[dtype]), leaf) for leaf in leaves]
        spread = max(spread, float(np.linalg.norm(_gradient(lab, with_float_leaves(lab, single, tensors)) - own)))
    return off > float(np.sqrt(EPSILON[dtype])) * size + 8.0 * spread


def _spread(lab: Lab, single: Subject, exact: float, dtype: str) -> float:
    """How far the float32 value moves when predictions (of a step: weights) move by their last place in half precision."""
    random = np.random.default_rng(0)
    epsilon = EPSILON[dtype]
    found = [0.0]
    for _ in range(NUDGES):
        if isinstance(single, StepSubject):
            values = [_nudged(lab.number(value), random, epsilon) for _, value in lab.model.state]
            moved = Functional(lab.model.model, None)
            pairs = zip(lab.model.state, values, strict=True)
            moved.__dict__["state"] = [(v, tensor_like(lab, new, old)) for (v, old), new in pairs]
            other: Subject = single.changed(model=moved)
        else:
            leaves = float_leaves(lab, single)
            tensors = [tensor_like(lab, _nudged(lab.number(leaf), random, epsilon), leaf) for leaf in leaves]
            other = with_float_leaves(lab, single, tensors)
        value = lab.value(other)
        found.append(abs(value - exact) if np.isfinite(value) else np.inf)
    return max(found)


def _nudged(array: np.ndarray, random: np.random.Generator, epsilon: float) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    return np.asarray(array * (1.0 + epsilon * random.uniform(-1.0, 1.0, array.shape)))


def _parting(lab: Lab, subject: Subject, single: Subject, dtype: str) -> Event | None:
    """The first expression that half precision changes by more than half of its digits, in most of its numbers' sum."""
    own = lab.trace(subject).events
    with single_precision(lab):
        other = lab.trace(single).events
    half = float(np.sqrt(EPSILON[dtype]))
    for one, two in zip(own, other, strict=False):
        if one.place != two.place:
            return None
        if not (lab.backend.is_concrete(one.value) and lab.backend.is_concrete(two.value)):
            continue
        a, b = (lab.number(event.value).astype("float64") for event in (one, two))
        if a.shape == b.shape and a.size and not np.abs(a - b).max() <= half * np.abs(b).max():
            return one
    return None


# Gradients -------------------------------------------------------------------------------------------------------------


def _unscaled(lab: Lab, dtype: str) -> Low | None:
    """A step of the user's whose optimizer divides the gradients by a scale with which nobody multiplied the loss.

    The scale is doubled: gradients of a scaled loss arrive at the inner optimizer as before, others are halved.
    """
    optimizer = getattr(lab.capture.model, "optimizer", None)
    if not lab.overrides_train_step or not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return None
    scale = float(optimizer.initial_scale)
    norms = [_norm_at(lab, value) for value in (scale, 2.0 * scale, 1.0)]
    before, halved, after = norms
    if not np.isfinite(norms).all() or before == 0.0 or abs(2.0 * halved - before) > 0.01 * before:
        return None
    return Low("unscaled", dtype, lab.step, Severity.ERROR, before, after, scale=scale)


def _norm_at(lab: Lab, scale: float) -> float:
    """The norm of the gradients that the inner optimizer gets, with some scale."""
    outcome = run_step(lab.model, lab.batch, scale=scale)
    arrays = [one.astype("float64") for applied in outcome.gradients for one in applied if one is not None]
    return float(np.sqrt(sum(float(np.sum(one**2)) for one in arrays)))


def _underflow(lab: Lab, dtype: str) -> Low | None:
    """Weights whose gradient is mostly below the smallest number of float16, where no optimizer scales the loss."""
    optimizer = getattr(lab.capture.model, "optimizer", None)
    if lab.overrides_train_step or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return None
    point = captured_point(lab)
    if point is None or not finite(point):
        return None

    def scaled(*weights: Any) -> Any:
        return SCALE * lab.model.objective(lab.batch, list(weights))

    with lab.undisturbed():
        _, gradients = lab.backend.gradient(scaled, lab.model.start)
    lost, pair = [], (0.0, 0.0)
    for variable, low, high in zip(lab.model.trainable, point.gradients, gradients, strict=True):
        if low is None or high is None:
            continue
        lifted = lab.number(high) / SCALE
        size, error = float(np.linalg.norm(lifted)), float(np.linalg.norm(low - lifted))
        if np.isfinite(lifted).all() and error > 0.5 * size > 0.0:
            lost.append(str(variable.path))
            pair = max(pair, (size, float(np.linalg.norm(low))))
    if not lost:
        return None
    return Low("underflow", dtype, None, Severity.ERROR, pair[1], pair[0], scale=SCALE, weights=tuple(lost))
