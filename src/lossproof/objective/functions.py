"""The function of a term: what it is, what its parameters are, what it is called, whether it can be saved."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from lossproof.objective.nearest import did_you_mean


@dataclass(frozen=True)
class Parameter:
    """A parameter of a term's function."""

    name: str
    required: bool


@dataclass(frozen=True)
class TermFunction:
    """What a term computes with."""

    function: Callable[..., Any]
    """A function of any parameters, or a `keras.losses.Loss`."""
    constants: dict[str, Any]
    """What a `functools.partial` has bound."""
    name: str
    parameters: tuple[Parameter, ...]
    takes_any: bool
    """Whether it has `**kwargs`."""
    positional: tuple[str, ...] = ()
    """The parameters that may be passed by position, in order."""

    @property
    def is_loss(self) -> bool:
        """Whether it is a `keras.losses.Loss`, which Keras calls with `(y_true, y_pred)`."""
        return isinstance(self.function, keras.losses.Loss)


def term_function(given: Any) -> TermFunction:
    """Read what a user passed as a term's function.

    Raises:
        TypeError: it is nothing that can be called with arguments by name.
        ValueError: it is the name of no built-in loss.
    """
    function, constants = _unwrapped(_resolved(given))
    if isinstance(function, keras.losses.Loss):
        return TermFunction(function, {}, function.name, (Parameter("y_true", True), Parameter("y_pred", True)), False)
    if not callable(function):
        raise TypeError(
            f"A term is a function, a keras.losses.Loss or the name of a built-in loss, found {type(function).__name__}: "
            f"{function!r}. Write lp.Term(my_loss, ...) with def my_loss(y_true, y_pred): ..."
        )
    name = given if isinstance(given, str) else name_of(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"The parameters of {name!r} cannot be read ({error}). Wrap it in a function that names them: "
            f"def term(y_true, y_pred): return {name}(y_true, y_pred)."
        ) from error
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            parameters.append(Parameter(parameter.name, parameter.default is parameter.empty))
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"{name!r} takes {parameter.name!r} by position only. Arguments of a term go by name: drop the `/`."
            )
    any_name = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    free = tuple(parameter for parameter in parameters if parameter.name not in constants)
    positional = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return TermFunction(function, constants, name, free, any_name, tuple(positional))


def _resolved(given: Any) -> Any:
    if isinstance(given, str):
        try:
            return keras.losses.get(given)
        except ValueError:
            names = {*_builtin_losses(), *("mse", "mae", "mape", "msle", "bce", "kld")}
            raise ValueError(
                f"{given!r} is no built-in loss of Keras.{did_you_mean(given, sorted(names))} "
                "Pass a function, a keras.losses.Loss, or one of the names in keras.losses."
            ) from None
    if inspect.isclass(given) and issubclass(given, keras.losses.Loss):
        return given()
    return given


def _builtin_losses() -> list[str]:
    return [name for name, one in vars(keras.losses).items() if inspect.isfunction(one)]


def _unwrapped(function: Any) -> tuple[Any, dict[str, Any]]:
    """The function inside partials that bind by name, and what they bind."""
    constants: dict[str, Any] = {}
    while isinstance(function, functools.partial) and not function.args:
        constants = {**function.keywords, **constants}
        function = function.func
    return function, constants


def name_of(function: Any) -> str:
    """What a function is called in logs."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__name__", None) or _snake(type(function).__name__)
    return "lambda" if name == "<lambda>" else str(name)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def unserializable_because(function: Any) -> str | None:
    """Why a function could not be found again when a saved Trainer is loaded; None if it could."""
    if isinstance(function, functools.partial):
        return "a functools.partial with arguments by position"
    if inspect.ismethod(function):
        return "a method: its object is not saved"
    name = getattr(function, "__qualname__", None)
    if inspect.isfunction(function) and name is not None:
        if function.__name__ == "<lambda>":
            return "a lambda, which has no name to be found by"
        if "<locals>" in name:
            return f"defined inside {name.split('.<locals>')[0]}(), where it cannot be found again"
        if "." in name:
            return f"defined inside the class {name.rpartition('.')[0]}, where it cannot be found by its name"
        return None
    if inspect.isbuiltin(function) or not hasattr(function, "get_config"):
        return f"an object of {type(function).__name__}, which has no get_config()"
    return None
