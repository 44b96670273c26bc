"""Gradients that the user's code stops, let through."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lossproof.capture.place import user_place
from lossproof.capture.userfiles import is_user_file
from lossproof.findings.finding import Place
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced


@contextmanager
def stops_lifted(lab: Lab, chosen: int | None, places: list[Place | None]) -> Iterator[None]:
    """Inside, the user's `chosen`-th stop of a gradient (all, if None) lets it pass; `places` says where they stand."""
    depth = 0

    def make(owner: Any) -> Callable[[Any], Any]:
        everyone = isinstance(owner, types.ModuleType)

        def replace(original: Callable[..., Any]) -> Callable[..., Any]:
            def stop(value: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal depth
                if depth or not (everyone or is_user_file(sys._getframe(1).f_code.co_filename)):  # noqa: SLF001
                    return original(value, *args, **kwargs)
                places.append(user_place())
                if chosen is None or chosen == len(places) - 1:
                    return value
                depth += 1
                try:
                    return original(value, *args, **kwargs)
                finally:
                    depth -= 1

            return stop

        return replace

    with ExitStack() as stack:
        for owner, name in lab.backend.gradient_stops():
            stack.enter_context(replaced(owner, name, make(owner)))
        yield
