"""Waits for the script to import Keras.

Importing Keras chooses the backend for the whole process, and scripts choose it themselves
(`os.environ["KERAS_BACKEND"] = "jax"` on their first line). So lossproof imports Keras no earlier than the script does.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, after: Callable[[], None]) -> None:
        self._name = name
        self._after = after
        self._asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name or self._asking:
            return None
        # Libraries look whether Keras is installed before anyone imports it, so being asked is not being imported.
        self._asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking = False
        if spec is None or spec.loader is None:
            return None
        execute, after = spec.loader.exec_module, self._after

        def execute_and_tell(module: ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            execute(module)
            after()

        spec.loader.exec_module = execute_and_tell  # type: ignore[method-assign]
        return spec


def once_imported(name: str, after: Callable[[], None]) -> _Finder | None:
    """Call `after` once the module `name` has been imported; at once if it is. Returns the finder that waits for it."""
    if name in sys.modules:
        after()
        return None
    finder = _Finder(name, after)
    sys.meta_path.insert(0, finder)
    return finder


@contextmanager
def when_imported(name: str, after: Callable[[], None]) -> Iterator[None]:
    """Inside the block, `once_imported`."""
    finder = once_imported(name, after)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
