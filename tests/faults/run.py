"""Seeds faults into healthy objectives and reports which are found (`make faults`).

    python -m tests.faults.run --backends torch --sample 200 --seed 1 --json out.json

A mutant that behaves as its original is set aside; one that stops by itself with an error is counted apart. Exit
status: 0 if nothing was said of the originals and every mutant could be judged.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from .operators.everything import OPERATORS
from .page import page, table
from .script import ALL, mutants
from .subjects import subjects

ROOT = Path(__file__).resolve().parent.parent.parent
CHUNK = {"torch": 100, "tensorflow": 20, "jax": 10}
"""Mutants of one process: its memory grows with each of them, most where programs are compiled."""

Task = tuple[str, str, int]


def tasks_of(
    backend: str, sample: int | None, seed: int, only: Sequence[str] = (), most: int | None = None
) -> list[Task]:
    """The originals of a backend, `most` at most, then its mutants; of many mutants a sample, even over the operators."""
    here = [one for one in subjects() if backend in one.backends]
    seeded = list(_seeded(backend))
    if only:
        seeded = [one for one in seeded if {one[0], one[1]} & set(only)]
    if sample is not None and sample < len(seeded):
        seeded = _evenly(seeded, sample, random.Random(seed))
    named = {one[0] for one in seeded}
    originals = [(one.name, "", 0) for one in here if not only or one.name in named]
    if most is not None and most < len(originals):
        originals = random.Random(seed).sample(originals, most)
    return originals + sorted(seeded)


@cache
def _seeded(backend: str) -> tuple[Task, ...]:
    here = [one for one in subjects() if backend in one.backends]
    return tuple(
        (one.subject, one.operator, one.index) for subject in here for one in mutants(subject, OPERATORS, backend)
    )


def _evenly(seeded: list[Task], sample: int, chance: random.Random) -> list[Task]:
    piles: dict[str, list[Task]] = {}
    for one in chance.sample(seeded, len(seeded)):
        piles.setdefault(one[1], []).append(one)
    drawn: list[Task] = []
    while len(drawn) < sample:
        drawn.extend(pile.pop() for pile in piles.values() if pile)
    return drawn[:sample]


def worked(backend: str, tasks: list[Task]) -> Iterator[dict[str, Any]]:
    """The results of some tasks; one at which the process dies is told of, and the others are done by a new process."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    while tasks:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.worker"],
            cwd=ROOT,
            env=environment,
            input=json.dumps(tasks),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        yield from results
        tasks = tasks[len(results) :]
        if tasks and (done.returncode or not results):
            subject, operator, index = tasks.pop(0)
            fields = {"subject": subject, "operator": operator, "index": index, "backend": backend, "status": "broken"}
            yield fields | {
                "codes": [],
                "notes": [],
                "crashed": [],
                "error": done.stderr[-2000:],
                "seconds": 0.0,
                "certified": "",
            }


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(ALL), help="comma-separated (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default: %(default)s)")
    parser.add_argument("--sample", type=int, help="so many mutants per backend, drawn evenly over the operators")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--only", default="", help="names of subjects or operators, comma-separated")
    parser.add_argument("--originals", type=int, help="so many originals per backend (default: all)")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    parser.add_argument("--page", type=Path, help="write the page of figures and survivors to this file")
    options = parser.parse_args()
    began = time.monotonic()
    only = [name for name in options.only.split(",") if name]
    chunks: list[tuple[str, list[Task]]] = []
    for backend in options.backends.split(","):
        tasks = tasks_of(backend, options.sample, options.seed, only, options.originals)
        size = CHUNK[backend]
        chunks.extend((backend, tasks[i : i + size]) for i in range(0, len(tasks), size))
    results: list[dict[str, Any]] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for part in pool.map(lambda chunk: list(worked(*chunk)), chunks):
            results += part
            if options.json:  # after each chunk: a run that is cut short has shown something
                options.json.write_text(json.dumps(results, indent=0), encoding="utf-8")
            for one in part:
                if one["status"] in ("missed", "seen", "alarm", "broken"):
                    name = "-".join(map(str, filter(None, (one["subject"], one["operator"])))) + f"-{one['index']}"
                    print(
                        f"{one['status']:7s} {one['backend']:10s} {name:50s} {','.join(one['codes'])} {one['error'][-200:]}",
                        flush=True,
                    )
    if options.page:
        options.page.write_text(page(results), encoding="utf-8")
    print(table(results))
    print(
        f"{len(results)} results in {time.monotonic() - began:.0f} s, {sum(one['seconds'] for one in results):.0f} s of CPU"
    )
    return 1 if any(one["status"] in ("alarm", "broken") for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
