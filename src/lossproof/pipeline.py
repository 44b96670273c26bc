"""The check as a whole: a script, or a model and its data, in; a `Report` out."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossproof.capture.failure import place_of_error
from lossproof.capture.importing import when_imported
from lossproof.capture.place import relative_to
from lossproof.capture.script import Outcome, run_script
from lossproof.findings.suppression import split_allowed
from lossproof.report.report import Report, ScriptError
from lossproof.rules.registry import rules
from lossproof.rules.rule import Rule
from lossproof.silence import silence

if TYPE_CHECKING:
    from lossproof.capture.record import Run
    from lossproof.capture.watch import Watch

OLDEST_KERAS = (3, 15)
"""The oldest Keras against which the private names of `keras_private.py` hold."""

BACKENDS = ("tensorflow", "jax", "torch")

PATIENCE = 5.0
"""Seconds to wait for threads that the script leaves behind, where its training was cut short under their feet."""


NOTHING_SEEN = "no call of fit, evaluate, train_on_batch or test_on_batch was seen, so nothing was checked"


class Misuse(Exception):  # noqa: N818 - shown to the user as one line
    """The tool was asked for something that it cannot do; the text is one line for the user."""


def selected(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Rule]:
    """The rules whose codes (or families: `LP1`) are selected and not ignored.

    Raises:
        Misuse: A code matches no rule.
    """
    everything = rules()
    for code in [*select, *ignore]:
        if not any(rule.code.startswith(code.upper()) for rule in everything):
            known = ", ".join(rule.code for rule in everything)
            raise Misuse(f"unknown rule {code!r}: expected one of {known}, or the beginning of one")

    def matches(rule: Rule, codes: Sequence[str]) -> bool:
        return any(rule.code.startswith(code.upper()) for code in codes)

    return [rule for rule in everything if (not select or matches(rule, select)) and not matches(rule, ignore)]


def check_script(  # noqa: PLR0913 - keywords, each with a default
    path: Path,
    arguments: Sequence[str] = (),
    *,
    full: bool = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    quiet: Callable[[], Any] | None = None,
    backends: Sequence[str] = (),
    replicas: int | None = None,
    course: bool = False,
) -> Report:
    """Run a script or notebook as Python would, and judge the objectives that it trains.

    Args:
        path: The script (`.py`) or notebook (`.ipynb`).
        arguments: Its `sys.argv[1:]`.
        full: Leave training alone instead of cutting each call to a few steps.
        select: Codes (or their beginnings) of the rules to apply; all by default.
        ignore: Codes of rules to leave out.
        quiet: Returns a context manager under which the script and the audit run, to divert their output.
        backends: Backends of Keras with which the objective is compared (LP305), each in a process of its own.
        replicas: Simulate so many replicas (LP701) even where the script does not distribute its training.
        course: Run the first steps of objectives of several parts again, for the charts of a page.

    Raises:
        Misuse: There is no such script, rule or backend, no replica to compare with, or no usable Keras.
    """
    chosen = selected(select, ignore)
    _refuse_requests(backends, replicas)
    with watched_script(path, arguments, full=full, quiet=quiet) as (watch, outcome):
        if watch is None:
            return without_keras(path, outcome)
        from lossproof.capture.record import Asked

        again = path.resolve() if path.suffix != ".ipynb" else None
        watch.run.asked = Asked(tuple(backends), replicas, again, tuple(arguments), str(Path.cwd()), full)
        return _judge(str(path), watch, outcome, chosen, course)


def refuse_missing(path: Path) -> None:
    """Refuse a path that is no script.

    Raises:
        Misuse: There is nothing there, or a folder.
    """
    if not path.exists():
        raise Misuse(f"no such script: {path}")
    if path.is_dir():
        raise Misuse(f"{path} is a folder: give the script that trains, such as {path / 'train.py'}")


def _refuse_requests(backends: Sequence[str], replicas: int | None) -> None:
    """Say what cannot be compared with before the script runs, not after."""
    for name in backends:
        if name not in BACKENDS:
            raise Misuse(f"unknown backend {name!r}: expected one of {', '.join(BACKENDS)}")
        if importlib.util.find_spec(name) is None:
            raise Misuse(f"the backend {name!r} is not installed: pip install 'lossproof[{name}]'")
    if replicas is not None and replicas < 2:
        raise Misuse(f"expected at least 2 replicas, found {replicas}: --replicas 2 compares two with one")


@contextmanager
def watched_script(
    path: Path,
    arguments: Sequence[str] = (),
    *,
    full: bool = False,
    quiet: Callable[[], Any] | None = None,
    beside: Callable[[], AbstractContextManager[None]] | None = None,
) -> Iterator[tuple[Watch | None, Outcome]]:
    """Run a script or notebook as Python would; what was seen of it, None if it never imported Keras, and how it ended.

    Args:
        path: The script (`.py`) or notebook (`.ipynb`).
        arguments: Its `sys.argv[1:]`.
        full: Leave training alone instead of cutting each call to a few steps.
        quiet: Returns a context manager under which the script and the body run, to divert their output.
        beside: Returns another that is entered when Keras is imported, just before the script is watched.

    Raises:
        Misuse: There is no such script, or no usable Keras.
    """
    refuse_missing(path)
    watches: list[Watch] = []
    with ExitStack() as stack:
        stack.enter_context(relative_to(str(Path.cwd())))
        if quiet is not None:
            stack.enter_context(quiet())

        refusals: list[Exception] = []

        def watch_it() -> None:
            try:
                _refuse_old_keras()
                from lossproof.capture.watch import Watch

                if beside is not None:
                    stack.enter_context(beside())
                watches.append(stack.enter_context(Watch(shorten=not full)))
            except Exception as error:  # raised here it would look like an error of the script's import
                refusals.append(error)

        with when_imported("keras", watch_it):
            outcome = _run(path, arguments, None if full else PATIENCE)
        if refusals:
            raise refusals[0]
        if watches:
            watches[0].__exit__()
        yield (watches[0] if watches else None), outcome


def judge(run: Run, *, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> Report:
    """Apply the rules to a run that needed no script.

    Raises:
        ValueError: A code matches no rule.
    """
    try:
        chosen = selected(select, ignore)
    except Misuse as error:
        raise ValueError(str(error)) from None
    report = _report(None, run, chosen)
    failure = next((one.error for one in run.captures if one.error is not None), None)
    return report if failure is None else replace(report, script_error=_objective_error(failure, report))


def _objective_error(error: BaseException, report: Report) -> ScriptError:
    """What stops an objective that was checked without a script."""
    return ScriptError(
        type=type(error).__name__,
        message=str(error),
        traceback="".join(traceback.format_exception(error)),
        where=place_of_error(error),
        explained_by=next((f.code for f in report.findings if f.evidence.get("explains_error")), None),
    )


def _run(path: Path, arguments: Sequence[str], patience: float | None) -> Outcome:
    if path.suffix != ".ipynb":
        return run_script(path, arguments, patience=patience)
    from lossproof.capture.notebook import UnreadableNotebook, run_notebook

    try:
        return run_notebook(path, arguments, patience=patience)
    except UnreadableNotebook as error:
        raise Misuse(str(error)) from error


def _refuse_old_keras() -> None:
    version = importlib.metadata.version("keras")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_KERAS:
        oldest = ".".join(map(str, OLDEST_KERAS))
        raise Misuse(f"Keras {version} is installed, lossproof needs {oldest} or newer: pip install -U keras")


def without_keras(path: Path, outcome: Outcome) -> Report:
    """The report of a script that never imported Keras, where an error is the reason.

    Raises:
        Misuse: The script has no objective, or its backend is not installed.
    """
    error = script_error_of(outcome, shortened=False)
    missing = getattr(outcome.exception, "name", None) if isinstance(outcome.exception, ModuleNotFoundError) else None
    if missing in ("tensorflow", "jax", "torch"):
        wanted = os.environ.get("KERAS_BACKEND", "tensorflow")
        raise Misuse(
            f"the Keras backend {wanted!r} needs {missing}, which is not installed: "
            f"pip install 'lossproof[{missing}]', or set KERAS_BACKEND to one that is"
        )
    if error is None:
        raise Misuse(f"{path} never imported keras, so there is no objective to check")
    return Report(str(path), "none", "none", script_error=error)


def _judge(script: str, watch: Watch, outcome: Outcome, chosen: Sequence[Rule], course: bool) -> Report:
    from lossproof.capture.loose import loose_captures, what_loops_hid

    run = watch.run
    hidden = what_loops_hid(run)
    run.captures += list(loose_captures(run))
    report = _report(script, run, chosen, course)
    error = script_error_of(outcome, any(capture.shortened for capture in run.captures))
    seen = [*(one.error for one in run.captures), *(one.error for one in run.saved), *(one.error for one in run.loaded)]
    if error is not None and any(one is outcome.exception for one in seen if one is not None):
        explaining = next((f.code for f in report.findings if f.evidence.get("explains_error")), None)
        error = replace(error, explained_by=explaining, after_shortening=False)
    notices = [*report.notices, *outcome.notices, *run.unseen, *hidden]
    notices += [f"the thread {name!r} of the script still runs" for name in outcome.threads]
    if not run.captures:
        notices.append(NOTHING_SEEN)
    notices += [f"lossproof could not look at something: {type(d).__name__}: {d}" for d in watch.defects[:3]]
    return replace(report, script_error=error, notices=tuple(notices))


def _report(script: str | None, run: Run, chosen: Sequence[Rule], course: bool = False) -> Report:
    import keras

    from lossproof.audit import audit

    with silence():
        verdict = audit(run, chosen, course)
    standing, allowed, notices = split_allowed(verdict.findings)
    return Report(
        script=script,
        backend=keras.backend.backend(),
        keras=keras.__version__,
        captures=tuple(verdict.cards),
        findings=tuple(standing),
        checked=tuple(sorted(verdict.checked)),
        skipped=dict(sorted(verdict.skipped.items())),
        crashed=verdict.crashed,
        allowed=tuple(allowed),
        notices=tuple(notices),
    )


def script_error_of(outcome: Outcome, shortened: bool) -> ScriptError | None:
    """The exception that ended a script, None where nothing did."""
    if outcome.stopped_early or outcome.status == 0:
        return None
    if outcome.exception is None:  # sys.exit(3), sys.exit("no data")
        return ScriptError("SystemExit", str(outcome.code), "", after_shortening=shortened)
    return ScriptError(
        type=type(outcome.exception).__name__,
        message=str(outcome.exception),
        traceback=outcome.traceback or "",
        where=outcome.where,
        after_shortening=shortened,
    )
