"""Checks mutants, one after the other, in one process of one backend: `python -m tests.faults.worker < tasks.json`.

A task is `[subject, operator, index]`; without an operator it is the subject itself. Each gets one line of JSON.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

import lossproof
from lossproof.pipeline import check_script
from lossproof.report.report import Report

from .certify import Behaviour, Fitted, behaviour, difference, up_to_fit
from .operators.everything import BY_NAME
from .script import Mutant, Operator, Subject, mutants
from .subjects import WRITTEN, subjects

PATIENCE = 600
"""Seconds for one mutant."""


@dataclass
class Result:
    """What became of one mutant, or of an original (`operator` is empty)."""

    subject: str
    operator: str
    index: int
    backend: str
    status: str = ""
    """`named`, `seen` (under another code), `missed`; `equivalent`, `raises` (by itself); `silent`, `alarm`; `broken`."""
    codes: list[str] = field(default_factory=list)
    """Of errors and warnings."""
    notes: list[str] = field(default_factory=list)
    certified: str = ""
    error: str = ""
    crashed: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Bench:
    """A folder with the script under test, and what is known of the originals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all = {one.name: one for one in subjects()}
        self._behaviours: dict[str, tuple[Behaviour, list[Any]]] = {}
        self._mutants: dict[str, list[Mutant]] = {}

    def original(self, subject: Subject) -> tuple[Behaviour, list[Any]]:
        """How the original behaves, and its first weights."""
        if subject.name not in self._behaviours:
            path = self.written(subject.name, subject.source)
            self._behaviours[subject.name] = behaviour(up_to_fit(path))
        return self._behaviours[subject.name]

    def mutant(self, subject: str, operator: str, index: int) -> Mutant:
        """One mutant, by what it is called."""
        if subject not in self._mutants:
            self._mutants[subject] = list(mutants(self.all[subject], tuple(BY_NAME.values()), keras.backend.backend()))
        return next(one for one in self._mutants[subject] if (one.operator, one.index) == (operator, index))

    def written(self, name: str, source: str) -> Path:
        """The file of a script. Each has its own: what Python keeps of a file's lines goes by its name."""
        path = self.folder / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        return path

    def result(self, subject: str, operator: str, index: int) -> Result:
        """Certify and check one mutant, or check an original."""
        result = Result(subject, operator, index, keras.backend.backend())
        if not operator:
            path = self.written(subject, self.all[subject].source)
            reports = [direct(up_to_fit(path))]
            if subject in WRITTEN:  # the others differ in their loss alone, and one fit is as the other
                reports.append(run(path))
            for report in reports:
                self._judged(result, report)
                result.error += "" if report.script_error is None else report.script_error.message
            result.status = "alarm" if result.codes or result.error else "silent"
            return result
        mutant, of = self.mutant(subject, operator, index), BY_NAME[operator]
        before, weights = self.original(self.all[subject])
        path = self.written(mutant.name, mutant.source)
        try:
            found = difference(before, behaviour(up_to_fit(path), weights)[0])
        except Exception as error:
            result.error = (
                f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120] if str(error).strip() else ''}"
            )
        else:
            result.certified = ", ".join(key for key, value in asdict(found).items() if value)
            if not found.has(of.needs):
                result.status = "equivalent"
                return result
        self._judged(result, run(path) if of.training or result.error else direct(up_to_fit(path)))
        result.status = self._verdict(result, of)
        return result

    def _judged(self, result: Result, report: Report) -> None:
        loud = {one.code for one in report.loud}
        result.codes = sorted({*result.codes, *loud})
        result.notes = sorted({*result.notes, *({one.code for one in report.findings} - loud)})
        result.crashed += report.crashed

    def _verdict(self, result: Result, operator: Operator) -> str:
        if result.error and not operator.training:
            return "raises"
        if set(result.codes) & set(operator.codes):
            return "named"
        return "seen" if result.codes else "missed"


def direct(fitted: Fitted) -> Report:
    """`lossproof.check` on what `fit` was given."""
    data = {key: value for key, value in fitted.data.items() if key != "validation_data"}
    return lossproof.check(fitted.model, **data)


def run(path: Path) -> Report:
    """`lossproof check` on the script, in this process."""
    back = Path.cwd()
    os.chdir(path.parent)
    try:
        return check_script(path)
    finally:
        os.chdir(back)


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def work(tasks: Sequence[tuple[str, str, int]], tell: Callable[[Result], None]) -> None:
    """Do the tasks in order and tell of each."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder).resolve())
        for subject, operator, index in tasks:
            began = time.process_time()
            said = io.StringIO()
            try:
                with (
                    warnings.catch_warnings(),
                    limited(PATIENCE),
                    contextlib.redirect_stdout(said),
                    contextlib.redirect_stderr(said),
                ):
                    warnings.simplefilter("ignore")
                    result = bench.result(subject, operator, index)
            except Exception:
                result = Result(
                    subject, operator, index, keras.backend.backend(), "broken", error=traceback.format_exc()
                )
            result.seconds = round(time.process_time() - began, 3)
            tell(result)
            keras.utils.clear_session()
            gc.collect()


def main() -> None:
    """Read the tasks from standard input, write results to standard output."""
    out = sys.stdout

    def tell(result: Result) -> None:
        out.write(json.dumps(asdict(result)) + "\n")
        out.flush()

    gc.freeze()  # what was imported is no garbage: to look through it after each mutant takes longer than many a mutant
    work([(subject, operator, index) for subject, operator, index in json.load(sys.stdin)], tell)


if __name__ == "__main__":
    main()
