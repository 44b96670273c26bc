"""Check healthy scripts, those of tests/healthy by default: each error or warning is a false alarm (`make healthy`).

The first line of a script may name the backends on which it runs: `# backends: tensorflow, jax`. Exit status: 0 if nothing
was said of any of them. `--folder examples/objectives` checks the examples of objectives.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent / "tests" / "healthy"
BACKENDS = ("tensorflow", "jax", "torch")


def backends_of(script: Path) -> list[str]:
    """The backends that the first line of a script names; all if it names none."""
    first = script.read_text(encoding="utf-8").partition("\n")[0]
    return re.findall("|".join(BACKENDS), first) if first.startswith("# backends:") else list(BACKENDS)


def alarms(script: Path, backend: str) -> list[str]:
    """What the tool says of a healthy script: errors and warnings, rules that crashed, a failure to answer."""
    done = subprocess.run(
        [sys.executable, "-m", "lossproof", "check", "--format", "json", script.name],
        cwd=script.parent,
        env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [f"no report, exit status {done.returncode}: {done.stderr.strip()[-200:]}"]
    loud = [f"{one['code']} {one['title']}" for one in report["findings"] if one["severity"] != "note"]
    return loud + [f"{code} crashed" for code in report["rules"].get("crashed", {})]


def main() -> int:
    """Check all scripts, print a line for each; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="scripts side by side (default: %(default)s)")
    parser.add_argument("--only", default="", help="names of scripts, comma-separated")
    parser.add_argument("--folder", type=Path, default=SCRIPTS, help="where they are (default: %(default)s)")
    options = parser.parse_args()
    wanted, only = options.backends.split(","), set(filter(None, options.only.split(",")))
    work = [
        (script, backend)
        for script in sorted(options.folder.glob("*.py"))
        for backend in backends_of(script)
        if backend in wanted and (not only or script.stem in only)
    ]
    false = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for (script, backend), said in zip(work, pool.map(lambda item: alarms(*item), work), strict=True):
            false += bool(said)
            print(f"{'FALSE' if said else 'quiet'} {script.stem:34s} {backend:10s} {'; '.join(said)}", flush=True)
    print(f"{len(work) - false} of {len(work)} quiet")
    return 1 if false or not work else 0


if __name__ == "__main__":
    sys.exit(main())
