"""Modules loaded afresh from a file, and what one call of a function amounts to."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@dataclass(frozen=True)
class Outcome:
    """Everything that can be seen of a call from outside."""

    result: Any
    error: tuple[object, ...] | None
    log: list[Any]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., ModuleType]]:
    """Loads a file, or source text that is written to one, as a new module each time."""
    numbers = itertools.count()
    loaded = []

    def load(source: Path | str, name: str = "") -> ModuleType:
        name = name or f"module_{next(numbers)}"
        path = source
        if isinstance(source, str):
            path = tmp_path / f"{name}.py"
            path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    """Calls a function with a new log, and tells its result, its effects in order, and what it raised where."""

    def call(function: Callable[..., Any], file: str) -> Outcome:
        log: list[Any] = []
        try:
            return Outcome(function(log), None, log)
        except Exception as error:  #  whatever it is, it is compared
            return Outcome(None, _seen(error, file), log)

    return call


def _seen(error: BaseException | None, file: str) -> tuple[object, ...] | None:
    if error is None:
        return None
    frames = [
        (frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
    ]
    context = (_seen(error.__cause__, file), _seen(error.__context__, file))
    return type(error).__name__, str(error), repr(error.args), frames, context
