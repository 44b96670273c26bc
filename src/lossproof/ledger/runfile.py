"""The local file of a run: JSON lines, each written whole and flushed, so that a killed run loses at most its last line.

Format, version 1. Every line is one JSON object with a `kind`; readers ignore kinds and keys that they do not know.
Numbers that are not finite are the strings "NaN", "Infinity" and "-Infinity". Steps count the updates that were made
before: the account of step 100 is of the batch that makes update 101.

run     The first line: version (1), lossproof, keras, backend, model, every, gradients (null without).
begin   A fit begins: step, epoch, time (seconds since 1970). What stands before it with this step or a later one belongs
        to updates that were lost, and does not count.
entry   An account: step, epoch, rows, total, residual, cause, learning_rate;
        terms, a list of name, loss, output, value, weight, contribution;
        penalties, a list of name, kind, layer, what, value, weight, contribution;
        gradients, null or the fields of `GradientEntry`.
epoch   An epoch ended: epoch, step (after it), logs (what Keras reports).
note    What could not be measured, and why: step, text.
end     A fit came to its end: step, time, undriven (the weights on which no part had a gradient at any measurement).

A line that is no JSON object is one that was torn when its process was killed; it is passed by.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from lossproof.ledger.entry import Entry, GradientEntry, PenaltyEntry, TermEntry

VERSION = 1
NAME = "ledger.jsonl"


@dataclass(frozen=True)
class EpochEntry:
    """What Keras reported at the end of an epoch."""

    epoch: int
    step: int
    """How many updates had been made when it ended."""
    logs: dict[str, float]


@dataclass(frozen=True)
class RunRecord:
    """Everything that a file tells, in the order of its steps, without what was lost with a killed process."""

    path: Path
    lossproof: str
    keras: str
    backend: str
    model: str
    every: int
    gradients: int | None
    entries: tuple[Entry, ...]
    epochs: tuple[EpochEntry, ...]
    notes: tuple[tuple[int, str], ...]
    """Steps with what could not be measured."""
    began: tuple[int, ...]
    """The step at which each `fit` began."""
    finished: bool
    """Whether the last `fit` came to its end."""
    undriven: tuple[str, ...] = ()
    torn: int = 0
    """Lines that could not be read."""


def file_of(path: str | Path) -> Path:
    """The file of a run, given its folder or the file itself."""
    path = Path(path)
    return path if path.suffix == ".jsonl" else path / NAME


def read_run(path: str | Path) -> RunRecord:
    """Read the file of a run, one that is still being written or was killed included.

    Args:
        path: The folder given to `lossproof.Ledger`, or the file in it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no ledger, or of a version that this lossproof does not know.
    """
    file = file_of(path)
    if not file.is_file():
        raise FileNotFoundError(f"no ledger at {file}: expected the folder that was given to lossproof.Ledger")
    lines, torn = _lines(file)
    head = lines[0] if lines else {}
    if head.get("kind") != "run":
        raise ValueError(f"{file} is no ledger: its first line is no run")
    if head.get("version") != VERSION:
        raise ValueError(f"{file} is of version {head.get('version')}, this lossproof reads version {VERSION}")
    kept: list[dict[str, Any]] = []
    for line in lines[1:]:
        if line.get("kind") == "begin":
            kept = [one for one in kept if not _lost(one, int(line["step"]))]
        kept.append(line)
    ends = [i for i, one in enumerate(kept) if one.get("kind") == "end"]
    begins = [i for i, one in enumerate(kept) if one.get("kind") == "begin"]
    finished = bool(ends) and (not begins or ends[-1] > begins[-1])
    return RunRecord(
        path=file,
        lossproof=str(head.get("lossproof")),
        keras=str(head.get("keras")),
        backend=str(head.get("backend")),
        model=str(head.get("model")),
        every=int(head.get("every") or 0),
        gradients=None if head.get("gradients") is None else int(head["gradients"]),
        entries=tuple(_entry(one) for one in kept if one.get("kind") == "entry"),
        epochs=tuple(
            EpochEntry(int(one["epoch"]), int(one["step"]), {k: float(v) for k, v in one["logs"].items()})
            for one in kept
            if one.get("kind") == "epoch"
        ),
        notes=tuple((int(one["step"]), str(one["text"])) for one in kept if one.get("kind") == "note"),
        began=tuple(int(one["step"]) for one in kept if one.get("kind") == "begin"),
        finished=finished,
        undriven=tuple(kept[ends[-1]].get("undriven") or ()) if finished else (),
        torn=torn,
    )


def _lost(line: dict[str, Any], begin: int) -> bool:
    """Whether a line tells of updates that a `fit` that begins at a step makes anew."""
    kind, step = line.get("kind"), int(line.get("step", 0))
    if kind in ("epoch", "end"):  # their step is that after the last update
        return step > begin
    return kind in ("entry", "note", "begin") and step >= begin


def _lines(file: Path) -> tuple[list[dict[str, Any]], int]:
    found, torn = [], 0
    for text in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError:
            torn += 1
            continue
        if isinstance(line, dict):
            found.append(line)
        else:
            torn += 1
    return found, torn


# Entries as JSON, and back -----------------------------------------------------------------------------------------


def entry_line(entry: Entry) -> dict[str, Any]:
    """The line of an account."""
    wanted = ("name", "loss", "output", "value", "weight", "contribution")
    return {
        "kind": "entry",
        **{
            key: getattr(entry, key) for key in ("step", "epoch", "rows", "total", "residual", "cause", "learning_rate")
        },
        "terms": [{key: getattr(term, key) for key in wanted} for term in entry.terms],
        "penalties": [asdict(one) for one in entry.penalties],
        "gradients": None if entry.gradients is None else asdict(entry.gradients),
    }


def _entry(line: dict[str, Any]) -> Entry:
    line = _restored(line)
    gradients = line.get("gradients")
    return Entry(
        terms=tuple(TermEntry(**_known(TermEntry, one)) for one in line["terms"]),
        penalties=tuple(PenaltyEntry(**_known(PenaltyEntry, one)) for one in line["penalties"]),
        total=line["total"],
        residual=line["residual"],
        cause=line.get("cause"),
        rows=line.get("rows"),
        step=line.get("step"),
        epoch=line.get("epoch"),
        learning_rate=line.get("learning_rate"),
        gradients=None
        if gradients is None
        else GradientEntry(**{key: _tuples(value) for key, value in _known(GradientEntry, gradients).items()}),
    )


def _known(cls: type, data: dict[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(cls)}
    return {key: value for key, value in data.items() if key in names}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBERS = ("total", "residual", "learning_rate", "value", "weight", "contribution", "norms", "norm")


def _spelled(value: Any) -> Any:
    """JSON has no numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spelled(one) for key, one in value.items()}
    return [_spelled(one) for one in value] if isinstance(value, (list, tuple)) else value


def _restored(value: Any, number: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _restored(one, key in _NUMBERS) for key, one in value.items()}
    if isinstance(value, list):
        return [_restored(one, number) for one in value]
    return _SPELLED.get(value, value) if number and isinstance(value, str) else value


# Writing ---------------------------------------------------------------------------------------------------------------


class RunWriter:
    """Appends lines to the file of a run.

    Args:
        folder: Of the run; it is made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.file = file_of(folder)
        self._stream: IO[bytes] | None = None

    def begin(self, head: dict[str, Any], step: int, epoch: int, time: float) -> None:
        """A `fit` begins. One that makes the first update of all starts a new file; the old one is kept beside it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if step == 0 and epoch == 0 and self.file.exists() and _has_steps(self.file):
            self.file.rename(_free_name(self.file))
        fresh = not self.file.exists() or self.file.stat().st_size == 0
        self.close()
        self._stream = self.file.open("ab")
        if fresh:
            self.write({"kind": "run", "version": VERSION, **head})
        elif not _ends_whole(self.file):
            self._stream.write(b"\n")  # after a line that was torn
        self.write({"kind": "begin", "step": step, "epoch": epoch, "time": time})

    def write(self, line: dict[str, Any]) -> None:
        """One line, handed to the system before this returns."""
        if self._stream is not None:
            text = json.dumps(_spelled(line), allow_nan=False, separators=(",", ":"))
            self._stream.write(text.encode() + b"\n")
            self._stream.flush()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def steps_before(path: Path, epoch: int) -> int:
    """How many updates a file knows of before an epoch began; 0 where there is no file."""
    if not path.is_file():
        return 0
    steps = [int(one["step"]) for one in _lines(path)[0] if one.get("kind") == "epoch" and int(one["epoch"]) < epoch]
    return max(steps, default=0)


def _has_steps(file: Path) -> bool:
    return any(line.get("kind") in ("entry", "epoch") for line in _lines(file)[0])


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def _free_name(file: Path) -> Path:
    return next(name for name in _names(file) if not name.exists())


def _names(file: Path) -> Iterator[Path]:
    number = 1
    while True:
        yield file.with_name(f"{file.stem}.{number}{file.suffix}")
        number += 1
