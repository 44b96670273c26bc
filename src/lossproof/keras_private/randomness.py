"""How `keras.random` draws."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

DRAWING = (
    "normal",
    "uniform",
    "categorical",
    "randint",
    "truncated_normal",
    "dropout",
    "gamma",
    "binomial",
    "beta",
)
"""The functions that draw numbers; `shuffle` only deals out those that there are."""


@contextmanager
def integer_seeds(reseed: Callable[[int], int], give: Callable[[str, int, dict[str, Any], Any], Any]) -> Iterator[None]:
    """Inside, whoever draws with an integer for a seed draws with that of `reseed`, and receives what `give` returns.

    Whatever way leads there (`keras.random.normal`, an initializer, a name imported from the module), it comes to the
    functions of the running backend (backend/<name>/random.py). `give` is told the function's name, the seed as it was
    written, the arguments and what was drawn.
    """
    module = importlib.import_module(f"keras.src.backend.{keras.backend.backend()}.random")
    originals = {name: getattr(module, name) for name in DRAWING}
    depth = 0

    def heard(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def draw(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            given = signature.bind(*args, **kwargs).arguments
            seed = given.get("seed")
            if depth or type(seed) is not int:
                return original(*args, **kwargs)
            depth += 1
            try:
                drawn = original(**{**given, "seed": reseed(seed)})
            finally:
                depth -= 1
            return give(name, seed, given, drawn)

        return draw

    for name, original in originals.items():
        setattr(module, name, heard(name, original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(module, name, original)
