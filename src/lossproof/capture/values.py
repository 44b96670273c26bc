"""The Python values that an objective can read, and how they change while it is trained.

A compiled step reads such a value once, when it is traced. So the values are noted when training begins and at each
epoch; the rule LP302 then asks of each one that changed whether the step follows.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.copies import copy_of
from lossproof.capture.userfiles import is_user_file

MOST_VALUES = 2000
"""Bounds the walk over a user's objects, so that a dataset held in an attribute costs nothing."""
LARGEST_ARRAY = 64
"""Arrays of more elements are data, not settings."""


_BOOKKEEPING = ("_obj_reference", "_self_", "_keras")
"""Beginnings of names that Keras and TensorFlow put on the objects of user classes from outside."""


@dataclass(frozen=True)
class Slot:
    """A place that holds a value: how to name it, read it and write it."""

    name: str
    read: Callable[[], Any] = field(compare=False)
    write: Callable[[Any], None] = field(compare=False)
    word: str | None = None
    """The name by which code reads it: of the variable, or of the attribute."""
    readers: tuple[types.CodeType, ...] = field(default=(), compare=False)
    """Code in which that name may stand."""


@dataclass(frozen=True)
class Change:
    """A value that changed between two steps of the same compiled function."""

    slot: Slot
    before: Any
    after: Any
    when: str
    by_step: bool = False
    """Whether it is the step itself that changes it, each time that its Python code runs."""


@dataclass
class Changes:
    """The values an objective can read, as training found them, and those that changed meanwhile."""

    slots: dict[str, Slot] = field(default_factory=dict)
    first: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Change] = field(default_factory=dict)

    def begin(self, roots: dict[str, Any]) -> None:
        """Note the values before the step is traced."""
        self.slots = {slot.name: slot for slot in reachable(roots)}
        self.first = {name: _value(slot) for name, slot in self.slots.items()}

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Inside, every value is the one with which training began; afterwards the present one again."""
        with ExitStack() as stack:
            for name, slot in self.slots.items():
                present, first = _value(slot), self.first[name]
                if first is None or (present is not None and _same(present, first)):
                    first = present  # held all the same: running the objective may change it
                if first is None or (isinstance(_holder(slot), keras.Variable) and name not in self.changed):
                    continue  # variables are put back by whoever runs a step
                with suppress(Exception):  # what cannot be set stays as it is
                    stack.enter_context(held(slot, first))
            yield

    def look(self, when: str) -> None:
        """Note which values differ from those at the beginning; the last different value is kept."""
        for name, slot in self.slots.items():
            value, first = _value(slot), self.first[name]
            if value is not None and first is not None and not _same(value, first):
                self.changed[name] = Change(slot, first, value, when)

    @contextmanager
    def moved_inside(self) -> Iterator[list[Change]]:
        """Collects which values a run of the objective itself changes, such as a counter, and puts them back."""
        plain = {name: slot for name, slot in self.slots.items() if not isinstance(_holder(slot), keras.Variable)}
        before = {name: _value(slot) for name, slot in plain.items()}
        changes: list[Change] = []
        try:
            yield changes
        finally:
            for name, slot in plain.items():
                value, first = _value(slot), before[name]
                if value is not None and first is not None and not _same(value, first):
                    changes.append(Change(slot, first, value, "in each run of the step", by_step=True))
                    with suppress(Exception):
                        slot.write(first)


def _holder(slot: Slot) -> Any:
    try:
        return slot.read()
    except Exception:  # an empty cell holds nothing
        return None


@contextmanager
def held(slot: Slot, value: Any) -> Iterator[None]:
    """Inside, the slot holds a value; a `keras.Variable` in it is assigned."""
    holder = slot.read()
    if isinstance(holder, keras.Variable):
        before = copy_of(holder)
        holder.assign(value)
        try:
            yield
        finally:
            holder.assign(before)
        return
    slot.write(value)
    try:
        yield
    finally:
        slot.write(holder)


def _value(slot: Slot) -> Any:
    value = _holder(slot)  # none in a cell that is empty, or for an attribute that is gone
    if isinstance(value, keras.Variable):
        try:
            return copy_of(value)
        except Exception:  # on JAX a variable has no value while the step runs
            return None
    return np.array(value) if isinstance(value, np.ndarray) else value


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


def _plain(value: Any) -> bool:
    if isinstance(value, (bool, int, float, str, np.generic)):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype != object and value.size <= LARGEST_ARRAY
    return isinstance(value, keras.Variable) and int(np.prod(value.shape)) <= LARGEST_ARRAY


def reachable(roots: dict[str, Any], wanted: Callable[[Any], bool] = _plain) -> Iterator[Slot]:
    """The slots that functions and objects can read: cells, globals, defaults, attributes and items, transitively.

    Only objects of the user's own classes and functions of the user's own files are entered.

    Args:
        roots: Where to begin.
        wanted: Which values count; by default numbers, strings, small arrays and small variables.
    """
    seen: set[int] = set()
    pending = [(_constant(name, value), value) for name, value in roots.items()]
    count = 0
    while pending and count < MOST_VALUES:
        holder, value = pending.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        for slot in _slots(holder.name, value, holder):
            count += 1
            try:
                held = slot.read()
            except Exception:  # an unset cell or a property that fails holds nothing to follow
                continue
            if wanted(held):
                yield slot
            elif not (isinstance(held, (keras.Variable, types.ModuleType, type)) or _plain(held)):
                pending.append((slot, held))


def _slots(name: str, value: Any, holder: Slot) -> Iterator[Slot]:
    if isinstance(value, functools.partial):
        yield from _partial_slots(name, value)
    elif isinstance(value, types.MethodType):
        yield _constant(f"{name}.__func__", value.__func__)
        yield _constant(_owner(value.__self__), value.__self__)
    elif isinstance(value, types.FunctionType):
        yield from _function_slots(value)
    elif isinstance(value, (dict, list, tuple)):
        if len(value) <= LARGEST_ARRAY:
            yield from _entry_slots(name, value, holder)
    elif hasattr(value, "python_function"):
        yield _constant(name, value.python_function)
    elif hasattr(value, "__wrapped__"):
        yield _constant(name, value.__wrapped__)
    elif isinstance(value, (keras.losses.Loss, keras.layers.Layer, keras.regularizers.Regularizer)) or _is_users(
        type(value)
    ):
        yield from _attributes(name, value)


def _entry_slots(name: str, container: Any, holder: Slot) -> Iterator[Slot]:
    for key in list(container) if isinstance(container, dict) else range(len(container)):
        if isinstance(container, tuple):
            read, write = functools.partial(container.__getitem__, key), functools.partial(_set_entry, holder, key)
            slot = Slot(f"{name}[{key!r}]", read, write)
        else:
            slot = _item(f"{name}[{key!r}]", container, key)
        yield replace(slot, word=holder.word, readers=holder.readers)


def _partial_slots(name: str, value: functools.partial[Any]) -> Iterator[Slot]:
    code = getattr(value.func, "__code__", None)
    readers = (code,) if code is not None else ()
    words = code.co_varnames if code is not None else ()
    yield _constant(f"{name}.func", value.func)
    for i in range(len(value.args)):
        read, write = functools.partial(_argument, value, i), functools.partial(_set_argument, value, i)
        yield Slot(f"{name}.args[{i}]", read, write, words[i] if i < len(words) else None, readers)
    for key in value.keywords:
        yield replace(_item(f"{name}.keywords[{key!r}]", value.keywords, key), word=key, readers=readers)


def _function_slots(function: types.FunctionType) -> Iterator[Slot]:
    if not is_user_file(function.__code__.co_filename):
        return
    for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        write = functools.partial(setattr, cell, "cell_contents")
        yield Slot(free, functools.partial(getattr, cell, "cell_contents"), write, free, (function.__code__,))
    code, defaults = function.__code__, function.__defaults__ or ()
    for i, word in enumerate(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]):
        read, write = functools.partial(_default, function, i), functools.partial(_set_default, function, i)
        yield Slot(f"{function.__name__}({word}=)", read, write, word, (code,))
    for key in function.__kwdefaults__ or {}:
        yield replace(_item(f"{function.__name__}({key}=)", function.__kwdefaults__, key), word=key, readers=(code,))
    for used in _global_names(function.__code__):
        if used in function.__globals__:
            slot = _item(used, function.__globals__, used)
            yield replace(slot, word=used, readers=(function.__code__,))


def _global_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _attributes(name: str, value: Any) -> Iterator[Slot]:
    own = vars(value) if hasattr(value, "__dict__") else {}
    for key in list(own):
        # Keras's own bookkeeping starts with an underscore; what a user's class keeps there is the user's.
        if key.startswith("_") and not _is_users(type(value)):
            continue
        if key.startswith(_BOOKKEEPING) or (
            isinstance(value, keras.layers.Layer) and key in keras_private.set_by_keras()
        ):
            continue
        read, write = functools.partial(getattr, value, key), functools.partial(_set, value, key)
        yield Slot(f"{name}.{key}", read, write, key, codes_of(type(value)))
    if isinstance(value, (keras.losses.Loss, keras.regularizers.Regularizer)) and not _is_users(type(value)):
        return
    if isinstance(value, keras.layers.Layer):
        for method in ("call", "compute_loss", "train_step", "test_step"):
            function = getattr(type(value), method, None)
            if isinstance(function, types.FunctionType):
                yield _constant(f"{type(value).__name__}.{method}", function)
        for layer in getattr(value, "layers", ()):
            yield _constant(layer.name, layer)
    elif isinstance(getattr(type(value), "call", None) or type(value).__dict__.get("__call__"), types.FunctionType):
        yield _constant(type(value).__name__, getattr(type(value), "call", None) or type(value).__call__)


def codes_of(cls: type) -> tuple[types.CodeType, ...]:
    """The code of the methods of a class, as far as the user wrote them."""
    functions = (value for base in cls.__mro__ if _is_users(base) for value in vars(base).values())
    return tuple(f.__code__ for f in functions if isinstance(f, types.FunctionType))


def _set(owner: Any, key: str, value: Any) -> None:
    # Past Keras's tracking `__setattr__`: the audit puts a plain value where a plain value was.
    vars(owner)[key] = value


def _default(function: types.FunctionType, i: int) -> Any:
    return (function.__defaults__ or ())[i]


def _set_default(function: types.FunctionType, i: int, value: Any) -> None:
    function.__defaults__ = _with_entry(function.__defaults__ or (), i, value)


def _argument(partial: functools.partial[Any], i: int) -> Any:
    return partial.args[i]


def _set_argument(partial: Any, i: int, value: Any) -> None:
    partial.__setstate__((partial.func, _with_entry(partial.args, i, value), partial.keywords, vars(partial)))


def _set_entry(holder: Slot, i: int, value: Any) -> None:
    holder.write(_with_entry(holder.read(), i, value))


def _with_entry(entries: tuple[Any, ...], i: int, value: Any) -> Any:
    changed = (*entries[:i], value, *entries[i + 1 :])
    return entries._make(changed) if hasattr(entries, "_make") else changed


def _owner(value: Any) -> str:
    return str(getattr(value, "name", type(value).__name__))


def _constant(name: str, value: Any) -> Slot:
    def refuse(_: Any) -> None:
        raise TypeError(f"{name} cannot be set")

    return Slot(name, lambda: value, refuse)


def _item(name: str, container: Any, key: Any) -> Slot:
    return Slot(name, lambda: container[key], functools.partial(container.__setitem__, key))


def _is_users(cls: type) -> bool:
    module = __import__("sys").modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    return cls.__module__ == "__main__" or (file is not None and is_user_file(file))
