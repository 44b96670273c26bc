"""The same objective with its half precision arithmetic carried out in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.lab import Lab
from lossproof.lab.passed import passed_leaves, with_targets
from lossproof.lab.replace import replaced
from lossproof.lab.subject import LossSubject, Subject

HALVES = ("float16", "bfloat16")
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The distance of 1 from the next larger number. Source: IEEE 754-2019, table 3.5; bfloat16 keeps 8 bits of float32's 24."""


def half_of(lab: Lab) -> str | None:
    """The half precision dtype in which a part of the objective is computed; None where there is none."""
    found = [str(loss.loss.dtype) for loss in lab.losses]
    found += [str(layer.compute_dtype) for layer in _layers(lab)]
    return next((dtype for dtype in found if dtype in HALVES), None)


def _layers(lab: Lab) -> list[Any]:
    return keras_private.layers_of(lab.capture.model) if lab.capture.model is not None else []


@contextmanager
def single_precision(lab: Lab) -> Iterator[None]:
    """Inside, the layers and losses of the model compute in float32, and so does code that asks for half precision by name."""
    layers = [layer for layer in _layers(lab) if layer.compute_dtype in HALVES]
    before = [layer.dtype_policy for layer in layers]
    with ExitStack() as stack:
        core = keras_private.backend_core()
        stack.enter_context(replaced(core, "cast", _promoting))
        stack.enter_context(replaced(keras.losses.Loss, "dtype", _single_of_half))
        try:
            for layer in layers:
                layer.dtype_policy = "float32"
            yield
        finally:
            for layer, policy in zip(layers, before, strict=True):
                layer.dtype_policy = policy


def _single_of_half(original: property) -> property:
    def dtype(loss: Any) -> Any:
        given = original.__get__(loss)
        return "float32" if given in HALVES else given

    return property(dtype)


def _promoting(original: Callable[..., Any]) -> Callable[..., Any]:
    def cast(x: Any, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        return original(x, "float32" if str(dtype) in HALVES else dtype, *args, **kwargs)

    return cast


def in_single(lab: Lab, subject: Subject, exact_targets: bool = True) -> Subject:
    """A subject with float32 in the place of half precision, to be evaluated inside `single_precision`.

    Args:
        lab: Of the capture.
        subject: What is evaluated.
        exact_targets: Whether its targets are those that the user passed; else those that arrived.
    """

    def wide(leaf: Any) -> Any:
        if not lab.backend.is_tensor(leaf) or keras.backend.standardize_dtype(leaf.dtype) not in HALVES:
            return leaf
        cast = lab.backend.tensor(lab.number(leaf), dtype="float32")
        keras_private.set_mask(cast, keras_private.mask_of(leaf))
        return cast

    def everywhere(data: Any) -> Any:
        return None if data is None else keras.tree.map_structure(wide, data, none_is_leaf=True)

    fields = {key: everywhere(getattr(subject, key)) for key in ("x", "y_true", "y_pred", "sample_weight")}
    found = subject.changed(**fields)
    if isinstance(found, LossSubject):
        found = found.changed(precision="float32")
    if not exact_targets:
        return found
    leaves = keras.tree.flatten(found.y_true)
    passed = passed_leaves(lab, subject)
    tensors = [
        lab.backend.tensor(array.astype("float32").reshape(tuple(leaf.shape)))
        if array is not None and array.dtype.kind == "f"
        else leaf
        for leaf, array in zip(leaves, passed, strict=True)
    ]
    return with_targets(found, tensors)


def rounded_targets(lab: Lab, subject: Subject, dtype: str) -> Subject:
    """A subject in float32 whose targets have been through half precision; inf where it does not hold them."""

    def rounded(leaf: Any) -> Any:
        if not lab.backend.is_tensor(leaf):
            return leaf
        with np.errstate(over="ignore"):
            values = lab.number(lab.backend.tensor(lab.number(leaf).astype("float32"), dtype=dtype))
        return lab.backend.tensor(values, dtype="float32")

    return subject.changed(y_true=keras.tree.map_structure(rounded, subject.y_true, none_is_leaf=True))
