"""Which models a script writes to files and reads from them."""

from __future__ import annotations

import functools
import inspect
import os
import weakref
from collections.abc import Callable
from typing import Any

from lossproof.capture.place import user_place
from lossproof.capture.record import Loaded, Run, Saved

MOST_FILES = 64


def noting_saves(original: Callable[..., Any], run: Run, quietly: Callable[[Callable[[], Any]], Any]) -> Any:
    """A function `(model, filepath, ...)` that writes a model, and keeps that it did."""

    @functools.wraps(original)
    def save(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        def note(error: Exception | None) -> None:
            if len(run.saved) < MOST_FILES:
                run.saved.append(Saved(weakref.ref(model), _absolute(filepath), user_place(), error))

        try:
            result = original(model, filepath, *args, **kwargs)
        except Exception as raised:
            error = raised
            quietly(lambda: note(error))
            raise
        quietly(lambda: note(None))
        return result

    return save


def noting_loads(original: Callable[..., Any], run: Run, quietly: Callable[[Callable[[], Any]], Any]) -> Any:
    """A function `(filepath, custom_objects, compile, ...)` that reads a model, and keeps that it did."""

    @functools.wraps(original)
    def load(filepath: Any, *args: Any, **kwargs: Any) -> Any:
        def note(error: Exception | None) -> None:
            if len(run.loaded) < MOST_FILES:
                told = inspect.signature(original).bind(filepath, *args, **kwargs).arguments
                kept: dict[str, Any] = {
                    key: told[key] for key in ("custom_objects", "compile", "safe_mode") if key in told
                }
                run.loaded.append(Loaded(_absolute(filepath), kept, user_place(), error))

        try:
            result = original(filepath, *args, **kwargs)
        except Exception as raised:
            error = raised
            quietly(lambda: note(error))
            raise
        quietly(lambda: note(None))
        return result

    return load


def _absolute(path: Any) -> str:
    return os.path.abspath(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else repr(path)  # noqa: PTH100
