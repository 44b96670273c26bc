"""Methods of Keras replaced by versions that look and then do what they did before, and who calls them."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import keras

from lossproof.capture.userfiles import is_user_file
from lossproof.lab.backends import running_backend


def around(original: Any, watched: Callable[..., Any]) -> Any:
    """A method that hands itself, and what it is called with, to `watched`."""

    @functools.wraps(original)
    def replacement(instance: Any, *args: Any, **kwargs: Any) -> Any:
        return watched(original, instance, *args, **kwargs)

    return replacement


# The methods that run inside compiled functions stay code that TensorFlow's autograph can convert, as it converts
# Keras's own on its way to the user's; only our look at them is kept out of it.


def before(original: Any, look: Callable[..., None]) -> Any:
    """A method that is looked at before it runs."""
    look = running_backend().untraced(look)

    @functools.wraps(original)
    def replacement(instance: Any, *args: Any, **kwargs: Any) -> Any:
        look(instance, *args, **kwargs)
        return original(instance, *args, **kwargs)

    return replacement


def after(original: Any, look: Callable[..., None]) -> Any:
    """A method that is looked at when it has run."""
    look = running_backend().untraced(look)

    @functools.wraps(original)
    def replacement(instance: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(instance, *args, **kwargs)
        look(instance, *args, **kwargs)
        return result

    return replacement


def inside(code: types.CodeType) -> bool:
    """Whether a function of this code is running now, below us on the stack."""
    frame: types.FrameType | None = sys._getframe(2)  # noqa: SLF001 - documented, there is no other way
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


_REPLACEMENT = after.__code__.co_consts


def assigned_by_user() -> bool:
    """Whether it is the user's code that now assigns a variable (also by adding or subtracting), or makes one."""
    return is_user_file(_assigner())


def assigned_by_trainer() -> bool:
    """Whether it is a trainer of Keras that assigns now, to bring its own state back into the variables."""
    return _assigner() in _TRAINERS


def _assigner() -> str:
    """The file whose code assigns (or makes) a variable now."""
    frame: types.FrameType | None = sys._getframe(2)  # noqa: SLF001 - documented, there is no other way
    while frame is not None and frame.f_code not in _REPLACEMENT:
        frame = frame.f_back
    ways = (keras.Variable.assign_add.__code__, keras.Variable.assign_sub.__code__)
    while frame is not None and (frame.f_code in _REPLACEMENT or frame.f_code in ways):
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else ""


_TRAINERS = {keras.Model.jax_state_sync.__code__.co_filename} if hasattr(keras.Model, "jax_state_sync") else set()


def arguments_of(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of a call by name, extra keywords included; None if they do not fit."""
    try:
        bound = inspect.signature(original).bind(model, *args, **kwargs)
    except TypeError:
        return None
    arguments = dict(bound.arguments)
    arguments.pop("self", None)
    arguments.update(arguments.pop("kwargs", {}))
    return arguments
