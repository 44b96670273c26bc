"""Instrumented twins of the user's functions, which share globals, defaults and closure cells with the originals."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

from lossproof.capture.place import shown_path
from lossproof.lab.localize.compiled import needs_compiler, plain_function
from lossproof.lab.localize.source import NoSource, Script, filled, instrumented, within


class Twins:
    """Makes twins that report to the probes of one recorder.

    Args:
        probe_for: Makes the probe for a script.
        is_user_file: Whether a file is the user's, so that functions in it are looked into.
    """

    def __init__(self, probe_for: Callable[[Script], object], is_user_file: Callable[[str], bool]) -> None:
        self.blind: dict[str, None] = {}
        """What could not be looked into, with the reason; a set that keeps its order."""
        self._probe_for = probe_for
        self._is_user_file = is_user_file
        self._probes: dict[int, tuple[Script, object]] = {}
        # Keyed by identity, as comparing code objects is slow; the values keep the keys alive.
        self._codes: dict[int, tuple[CodeType, CodeType | None]] = {}
        self._ours: dict[int, tuple[CodeType, Script]] = {}

    def of(self, function: Any) -> Any:
        """What to call in place of `function`: a twin, or `function` itself where there is nothing to see.

        The twin does what the original does, result, effects and exceptions alike. Never raises.
        """
        if issubclass(type(function), BuiltinFunctionType | type):  # unlike isinstance, runs no code of the user
            return function
        try:
            twin = self._twin(function)
        except Exception as error:  #  whatever is wrong here, the user's call must go on
            self.note(f"{type(error).__name__} while it was instrumented: {error}", function)
            return function
        return function if twin is None else twin

    def note(self, reason: str, function: Any = None) -> None:
        """Keep a reason for `blind`, of a function or in general."""
        self.blind[reason if function is None else f"{_described(function)}: {reason}"] = None

    def script_of(self, code: CodeType) -> Script | None:
        """The script of a twin's code, None for any other code."""
        found = self._ours.get(id(code))
        return None if found is None else found[1]

    def _twin(self, function: Any) -> Any:
        """The twin, or None where there is nothing to see."""
        if type(function) is FunctionType:
            return self._twin_of_function(function)
        if type(function) is MethodType:
            return self._twin_of_method(function)
        if type(function) is functools.partial:
            inner = self._twin(function.func)
            return None if inner is None else _partial(inner, function)
        plain = plain_function(function)
        if plain is None:
            return self._twin_of_instance(function)
        twin = self._twin(plain)
        if twin is not None and needs_compiler(function):
            self.note("it is compiled inside a graph, where its own `if` and `for` may need AutoGraph", plain)
            return None
        return twin

    def _twin_of_function(self, function: FunctionType) -> FunctionType | None:
        if not self._is_users(function):
            behind = inspect.unwrap(function)
            if type(behind) is FunctionType and self._is_users(behind) and not self._is_twins(behind.__code__):
                self.note("it is wrapped by a decorator that cannot be looked into", behind)
            return None
        code = self._twin_of_code(function)
        if code is None:
            return None
        twin = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
        twin.__kwdefaults__ = function.__kwdefaults__
        twin.__qualname__, twin.__module__, twin.__doc__ = function.__qualname__, function.__module__, function.__doc__
        for name in ("__annotate__", "__type_params__"):  # Python 3.14 and 3.12
            if hasattr(function, name):
                setattr(twin, name, getattr(function, name))
        if not hasattr(function, "__annotate__"):
            twin.__annotations__ = function.__annotations__
        twin.__dict__.update(function.__dict__)
        return twin

    def _twin_of_code(self, function: FunctionType) -> CodeType | None:
        code = function.__code__
        if id(code) not in self._codes:
            self._codes[id(code)] = code, None if self._is_twins(code) else self._instrumented(function)
        return self._codes[id(code)][1]

    def _is_twins(self, code: CodeType) -> bool:
        """Whether code is a twin's already, or a copy of one's, as `types.coroutine` makes it."""
        for script, probe in self._probes.values():
            if any(constant is probe for constant in code.co_consts):
                self._ours[id(code)] = code, script
        return id(code) in self._ours

    def _instrumented(self, function: FunctionType) -> CodeType | None:
        code = function.__code__
        try:
            script, template = instrumented(code, function.__globals__)
        except NoSource as reason:
            self.note(str(reason), function)
            return None
        if id(script) not in self._probes:
            self._probes[id(script)] = script, self._probe_for(script)
        twin = filled(template, self._probes[id(script)][1])
        twin = twin.replace(co_flags=code.co_flags)  # `types.coroutine` marks a function by a flag
        self._ours.update({id(one): (one, script) for one in within(twin)})
        return twin

    def _is_users(self, function: FunctionType) -> bool:
        file = function.__code__.co_filename
        if self._is_user_file(file):
            return True
        # Code that was made at run time belongs to whom its globals belong.
        module = function.__globals__.get("__file__")
        return file.startswith("<") and (not isinstance(module, str) or self._is_user_file(module))

    def _twin_of_method(self, method: MethodType) -> Any:
        owner, function = method.__self__, method.__func__
        for base, name in _delegating(owner):
            if function is base.__call__:  # `super().__call__(y_true, y_pred)`
                clone = self._clone(owner, name)
                return None if clone is None else MethodType(function, clone)
        twin = self._twin(function)
        return None if twin is None else MethodType(twin, owner)

    def _twin_of_instance(self, instance: Any) -> Any:
        call = inspect.getattr_static(type(instance), "__call__", None)
        for base, name in _delegating(instance):
            if call is base.__call__:
                return self._clone(instance, name)
        if isinstance(call, FunctionType):
            twin = self._twin_of_function(call)
            return None if twin is None else MethodType(twin, instance)
        return None

    def _clone(self, instance: Any, name: str) -> Any:
        """The same object again, on which the method `name` is a twin that is bound to the original."""
        twin = self._twin(getattr(instance, name))
        if twin is None:
            return None
        if any(set(vars(base).get("__slots__", ())) - {"__dict__", "__weakref__"} for base in type(instance).__mro__):
            raise TypeError("a class with __slots__ cannot be copied faithfully")
        clone = object.__new__(type(instance))
        clone.__dict__.update(instance.__dict__)
        clone.__dict__[name] = twin
        return clone


def _described(function: object) -> str:
    """A function's name and place, without running code of the user."""
    function = function.__func__ if type(function) is MethodType else function
    if type(function) is not FunctionType:
        return type(function).__qualname__
    return f"{function.__qualname__} ({shown_path(function.__code__.co_filename)}:{function.__code__.co_firstlineno})"


def _partial(inner: Callable[..., Any], partial: functools.partial[Any]) -> functools.partial[Any]:
    twin = functools.partial(inner, *partial.args, **partial.keywords)
    twin.__dict__.update(partial.__dict__)
    return twin


def _delegating(instance: object) -> Iterator[tuple[type, str]]:
    """Classes of a framework whose `__call__` does its own work around a method of the user.

    Layers and models of Keras are left alone: their `__call__` tracks state that a clone would not share.
    """
    keras, torch = sys.modules.get("keras"), sys.modules.get("torch")
    if keras is not None and issubclass(type(instance), keras.losses.Loss):
        yield keras.losses.Loss, "call"
    if torch is not None and issubclass(type(instance), torch.nn.Module):
        if keras is not None and issubclass(type(instance), keras.layers.Layer):
            return
        yield torch.nn.Module, "forward"
