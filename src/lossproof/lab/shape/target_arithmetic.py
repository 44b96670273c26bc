"""Arithmetic in the dtype of the targets, where code of the user's receives them as they were passed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.noise import HALF_OF_THE_DIGITS
from lossproof.lab.passed import passed_leaves, with_targets
from lossproof.lab.shape.target_change import ChangedTargets, numbers_of
from lossproof.lab.subject import Subject


def in_arithmetic(lab: Lab, subject: Subject) -> ChangedTargets | None:
    """A `compute_loss` or `train_step`, which receives integers as they are (JAX: in 32 bits)."""
    passed = passed_leaves(lab, subject)
    leaves = keras.tree.flatten(subject.y_true)
    places = [i for i, array in enumerate(passed) if array is not None and array.dtype.kind in "biu"]
    if not places:
        return None
    received = lab.value(subject)
    if not np.isfinite(received) or lab.value(subject) != received:
        return None
    with lab.backend.double_precision():  # JAX draws other random numbers there
        control = lab.attempt(partial(lab.value, subject))
    if control is None or abs(control - received) > HALF_OF_THE_DIGITS * abs(received):
        return None
    totals: list[tuple[float, Subject]] = []
    for form in _forms([passed[i] for i in places]):  # type: ignore[misc]
        tensors = list(leaves)
        with lab.backend.double_precision():
            for i in places:
                array = passed[i]
                tensors[i] = lab.backend.tensor(array.reshape(tuple(leaves[i].shape)), dtype=form)  # type: ignore[union-attr]
            other = with_targets(subject, tensors)
            try:
                totals.append((lab.value(other), other))
            except Exception:  # code that insists on a dtype
                continue
    values = [value for value, _ in totals]
    if not values or not np.isfinite(values).all():
        return None
    scale = max(abs(received), *map(abs, values))
    if (
        max(values) - min(values) > HALF_OF_THE_DIGITS * scale
        or not abs(received - values[0]) > HALF_OF_THE_DIGITS * scale
    ):
        return None
    position = places[0]
    exact = passed[position].astype("float64")  # type: ignore[union-attr]
    arrived = lab.number(leaves[position]).astype("float64").reshape(exact.shape)
    same = np.array_equal(exact, arrived)
    return ChangedTargets(
        subject=subject,
        kind="arithmetic" if same else "value",
        passed=str(passed[position].dtype),  # type: ignore[union-attr]
        received=keras.backend.standardize_dtype(leaves[position].dtype),
        before=received,
        after=values[0],
        shifted=None,
        **numbers_of(exact, arrived),
        event=lab.attempt(partial(_where_it_wraps, lab, subject, totals[0][1])),
    )


def _forms(arrays: list[np.ndarray]) -> Iterator[str]:
    """Wider dtypes that hold all of the numbers: exact answers, however they are computed, are one answer."""
    largest = max(float(np.abs(one.astype("float64")).max(initial=0.0)) for one in arrays)
    yield "float32" if largest <= 2.0**24 / 256 else "float64"
    if all(one.dtype.kind != "b" for one in arrays):
        yield "int64"


def _where_it_wraps(lab: Lab, subject: Subject, exact: Subject) -> Event | None:
    """The first expression whose value is another one in a wider dtype."""
    own = lab.trace(subject).events
    with lab.backend.double_precision():
        wide = lab.trace(exact).events
        for one, other in zip(own, wide, strict=False):
            if one.place != other.place:
                return None
            if not (lab.backend.is_concrete(one.value) and lab.backend.is_concrete(other.value)):
                continue
            a, b = (lab.number(event.value).astype("float64") for event in (one, other))
            if a.shape == b.shape and not np.allclose(a, b, rtol=HALF_OF_THE_DIGITS, atol=0.0, equal_nan=True):
                return one
    return None
