"""Score `lossproof check` on folders of real bugs, by default this one (`make cases`).

Each case is a folder with `train.py` (a bug from a public thread), `fixed.py` (the same script without it) and
`case.toml`. A row of the output is one case on one backend:

    hit    the first code of `expect` was found on train.py
    near   only another code of `expect` was
    MISS   none was
    todo   none was, and there is no rule of that code yet
    noise  errors and warnings on train.py that are neither in `expect` nor in `also_ok`
    FALSE  errors and warnings on fixed.py
    FAILED the tool did not answer as it should: no JSON, a strange exit status, a rule that crashed, or too slow

Findings of severity `note` count for a hit only where case.toml says `note = true`. The exit status is 0 if every row
is a hit or todo, without noise, false alarms and failures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
BACKENDS = ("tensorflow", "jax", "torch")
LOUD = ("error", "warning")
# Exit status 0: nothing found, 1: findings, 2: the script failed (as many of the bugs do) with nothing to explain it.
ANSWERS = (0, 1, 2)


@dataclass(frozen=True)
class Case:
    """What case.toml says of one bug."""

    folder: Path
    backends: tuple[str, ...]
    expect: tuple[str, ...]
    also_ok: tuple[str, ...]
    note: bool

    @classmethod
    def read(cls, folder: Path) -> Case:
        """Read `folder/case.toml`."""
        toml = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
        return cls(
            folder, tuple(toml["backends"]), tuple(toml["expect"]), tuple(toml["also_ok"]), toml.get("note", False)
        )


@dataclass(frozen=True)
class Answer:
    """What the tool said of one script."""

    loud: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    """The codes of all rules there are, whether they applied or not."""
    failure: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """One case on one backend."""

    case: str
    backend: str
    mark: str
    expect: tuple[str, ...]
    got: tuple[str, ...]
    noise: tuple[str, ...]
    false: tuple[str, ...]
    failed: str | None
    seconds: float
    """How long the check of train.py took."""

    @property
    def good(self) -> bool:
        """Whether there is nothing to mend, as far as the rules go."""
        return self.mark in ("hit", "todo") and not (self.noise or self.false or self.failed)

    def __str__(self) -> str:
        parts = [
            f"{self.mark:4s} {self.case:33s} {self.backend:10s} expect {','.join(self.expect):13s}",
            f"got {','.join(self.got) or '-':18s}",
            *([f"noise {','.join(self.noise)}"] if self.noise else []),
            *([f"FALSE on fixed {','.join(self.false)}"] if self.false else []),
            *([f"FAILED {self.failed}"] if self.failed else []),
            f"{self.seconds:.1f} s",
        ]
        return " ".join(parts)


def understood(report: dict[str, Any], status: int, seconds: float) -> Answer:
    """Read the JSON report of one check."""
    by_severity: dict[str, set[str]] = {}
    for finding in report["findings"]:
        by_severity.setdefault(finding["severity"], set()).add(finding["code"])
    rules = report["rules"]
    crashed = rules.get("crashed", {})
    failure = f"exit status {status}" if status not in ANSWERS else None
    if crashed:
        failure = f"crashed: {', '.join(sorted(crashed))}"
    return Answer(
        loud=frozenset().union(*(by_severity.get(severity, set()) for severity in LOUD)),
        notes=frozenset(by_severity.get("note", set())),
        rules=frozenset([*rules["checked"], *rules["skipped"], *crashed]),
        failure=failure,
        seconds=seconds,
    )


def check(script: Path, backend: str, timeout: float) -> Answer:
    """Run `lossproof check --format json` on a script, from its own folder."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "lossproof", "check", "--format", "json", script.name]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=script.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(failure=f"no answer in {timeout:.0f} s", seconds=timeout)
    seconds = time.perf_counter() - start
    try:
        return understood(json.loads(done.stdout), done.returncode, seconds)
    except (ValueError, KeyError) as error:
        last_words = " ".join(done.stderr.split())[-160:]
        return Answer(failure=f"no report ({error!r}), exit status {done.returncode}: {last_words}", seconds=seconds)


def score(case: Case, backend: str, timeout: float) -> Row:
    """Check both scripts of a case under one backend, and compare with what is expected."""
    bug = check(case.folder / "train.py", backend, timeout)
    healthy = check(case.folder / "fixed.py", backend, timeout)
    seen = bug.loud | bug.notes if case.note else bug.loud
    if case.expect[0] in seen:
        mark = "hit"
    elif seen.intersection(case.expect):
        mark = "near"
    else:
        mark = "todo" if bug.rules and case.expect[0] not in bug.rules else "MISS"
    return Row(
        case=case.folder.name,
        backend=backend,
        mark=mark,
        expect=case.expect,
        got=tuple(sorted(seen)),
        noise=tuple(sorted(bug.loud - set(case.expect) - set(case.also_ok))),
        false=tuple(sorted(healthy.loud)),
        failed=bug.failure or healthy.failure,
        seconds=round(bug.seconds, 1),
    )


def total(rows: Iterable[Row]) -> str:
    """The sum of all rows, in one line."""
    rows = list(rows)
    marks = Counter(row.mark for row in rows)
    return (
        f"{marks['hit']}/{len(rows)} hit ({marks['hit'] / max(len(rows), 1):.0%}), {marks['near']} near, "
        f"{marks['MISS']} missed, {marks['todo']} without a rule, {sum(bool(row.noise) for row in rows)} with noise, "
        f"{sum(bool(row.false) for row in rows)} with false alarms on fixed.py, "
        f"{sum(bool(row.failed) for row in rows)} failed"
    )


def main() -> int:
    """Score what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[FOLDER], metavar="FOLDER", help="folders of cases")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="comma-separated (default: %(default)s)")
    parser.add_argument(
        "--only", default="", metavar="TEXT,...", help="cases whose name or expected code contains a TEXT"
    )
    parser.add_argument("--jobs", type=int, default=2, help="checks side by side (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds for one check (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    args = parser.parse_args()
    wanted = [name for name in args.backends.split(",") if name]
    if unknown := sorted(set(wanted) - set(BACKENDS)):
        parser.error(f"unknown backend {', '.join(unknown)}: choose from {', '.join(BACKENDS)}")
    texts = [text for text in args.only.split(",") if text]
    cases = [Case.read(toml.parent) for folder in args.folders for toml in sorted(folder.glob("*/case.toml"))]
    if texts:
        cases = [c for c in cases if any(text in c.folder.name or text in c.expect for text in texts)]
    work = [(case, backend) for case in cases for backend in case.backends if backend in wanted]
    if not work:
        parser.error("no case fits")

    rows = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(lambda item: score(item[0], item[1], args.timeout), work):
            rows.append(row)
            print(row, flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    print(total(rows))
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
