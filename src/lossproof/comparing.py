"""`lossproof.compare`: why do two runs differ?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossproof.comparison.search import Run
    from lossproof.report.compared import Comparison

STEPS = 3

Given = str | Path | Sequence[str] | Callable[[], Any]
"""A script's path, a list of it and its arguments, or a function."""


def compare(
    run_a: Given,
    run_b: Given | None = None,
    *,
    backend_a: str | None = None,
    backend_b: str | None = None,
    fit_a: int | None = None,
    fit_b: int | None = None,
    steps: int = STEPS,
) -> Comparison:
    """Find the first thing in which two runs differ, and prove it: give run B that one thing of run A.

    Compared are, in the order of cause and effect: the initial weights, the batches as the step received them, predictions,
    loss and gradient at equal weights, and what the first steps report and do. Differences that rounding explains, by
    the dtype and by how much the numbers move with the last place of their inputs, are none.

    Args:
        run_a: A script or notebook, which is run in a process of its own; or a function without arguments that builds,
            compiles and trains a model, which is run here. A script with arguments of its own is a list of its path and them.
        run_b: The other one, of the same sort; None to compare two trainings of `run_a`, or `run_a` on two
            backends.
        backend_a: The Keras backend on which to run the script; what the environment says by default.
        backend_b: The same of the other script.
        fit_a: Which training of run A is meant (from 1), where it has several; of one run alone the first by default.
        fit_b: The same of run B; of one run alone the second by default.
        steps: How many steps of each training are compared.

    Returns:
        A `Comparison`: `.same`, `.first`, `.divergences`, `.to_json()`; it prints itself in a terminal and a notebook.

    Raises:
        FileNotFoundError: There is no such script.
        TypeError: A function and a script were given, or neither.
        ValueError: A run trains nothing, cannot be run, or has no training of that number.
    """
    from lossproof.comparison.search import Cannot, compare_runs

    if run_b is None and backend_a == backend_b:
        fit_a, fit_b = fit_a or 1, fit_b or 2
    a = _run(run_a, backend_a, steps)
    same = run_b is None and backend_a == backend_b
    b = a if same else _run(run_a if run_b is None else run_b, backend_b, steps)
    if type(a) is not type(b):
        raise TypeError("expected two scripts or two functions, found one of each")
    try:
        return compare_runs(a, b, fit_a, fit_b)
    except Cannot as reason:
        raise ValueError(str(reason)) from None


def _run(given: Any, backend: str | None, steps: int) -> Run:
    if callable(given):
        from lossproof.comparison.functions import FunctionRun

        if backend is not None:
            raise TypeError("a function runs on the backend of this process: give a script to choose another")
        return FunctionRun(given, steps)
    if not isinstance(given, (str, Path, list, tuple)):
        raise TypeError(f"expected a script's path or a function that trains, found {type(given).__name__}")
    from lossproof.comparison.scripts import ScriptRun

    path, *arguments = [str(one) for one in (given if isinstance(given, (list, tuple)) else [given])]
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such script: {path}")
    return ScriptRun(Path(path), arguments, backend, steps)
