"""Does the account of `lossproof.explain` close on every script of examples/ and every case (`make closes`)?

See tests/ledger/closing.py for how it is measured and what the marks mean. Exit status: 0 if there is no mark in capitals.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("torch", "tensorflow", "jax")


def shown(row: dict[str, Any]) -> str:
    """A row in one line: mark, script, backend, total, what Keras reports, what is left over, and why."""
    numbers = [f"{row[key]:.7g}" if row[key] is not None else "-" for key in ("total", "reported")]
    left = "-" if row["reported"] is None else f"{row['reported'] - row['explained']:.1e}"
    line = f"{row['mark']:9s} {row['script']:44s} {row['backend']:10s} {numbers[0]:>13s} {numbers[1]:>13s} {left:>9s}"
    return f"{line} {row['why'] or ''}".rstrip()


def main() -> int:
    """Print a row for each script and backend, and how many there are of each mark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT,...", help="scripts whose path contains a TEXT")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    only = [one for one in options.only.split(",") if one]
    rows: list[dict[str, Any]] = []
    for backend in options.backends.split(","):

        def part(number: int, backend: str = backend) -> int:
            environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
            command = [sys.executable, "-m", "tests.ledger.closing", str(number), str(options.jobs), *only]
            with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout or ():
                    rows.append(json.loads(line))
                    print(shown(rows[-1]), flush=True)
            return process.returncode

        with ThreadPoolExecutor(options.jobs) as pool:
            if failed := [status for status in pool.map(part, range(options.jobs)) if status]:
                print(f"{backend}: ended with status {failed[0]}")
                return 1
    for backend in options.backends.split(","):
        marks = Counter(str(row["mark"]) for row in rows if row["backend"] == backend)
        print(f"{backend}: {', '.join(f'{count} {mark}' for mark, count in sorted(marks.items()))}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 1 if not rows or any(str(row["mark"]).isupper() for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
