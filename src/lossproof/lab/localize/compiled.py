"""The Python function behind one that a backend compiles. Read from TensorFlow 2.21 and JAX 0.10."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any


def plain_function(function: object) -> Callable[..., Any] | None:
    """What `tf.function` or `jax.jit` was given, None for anything else."""
    tensorflow, jax = sys.modules.get("tensorflow"), sys.modules.get("jax")
    if tensorflow is not None and isinstance(function, tensorflow.types.experimental.PolymorphicFunction):
        return _behind_tf_function(function)
    # `Wrapped` is a protocol of methods: ask only of what is a wrapper at all.
    wrapped = inspect.getattr_static(function, "__wrapped__", None)
    if jax is not None and callable(wrapped) and isinstance(function, jax.stages.Wrapped):
        inner: Callable[..., Any] = wrapped
        return inner
    return None


def needs_compiler(function: object) -> bool:
    """Whether a compiled function may do here what its plain one cannot.

    Inside a TensorFlow graph its `if` on a tensor rests on AutoGraph. JAX and eager TensorFlow run either.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(function, tensorflow.types.experimental.PolymorphicFunction):
        return False
    return not tensorflow.executing_eagerly()


def _behind_tf_function(function: Any) -> Callable[..., Any]:
    plain: Callable[..., Any] = function.python_function
    # Taken from an instance, the Python function is a wrapper with a weak reference to that instance (None if it died,
    # which goes unnoticed as long as the method does not need it).
    method = getattr(plain, "__wrapped__", None)
    if isinstance(method, MethodType) and hasattr(method.__self__, "target"):
        return functools.partial(method.__func__, method.__self__.target)
    return plain
