"""A sample of `make closes`: the account against what Keras reports, on scripts that know nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = {
    "examples/objectives/multi_task.py": "closes",  # a Trainer with learned weights
    "recipe-tags-class-weight/train.py": "closes",
    "vocoder-two-losses-one-output/train.py": "closes",
    "depth-map-three-part-loss/train.py": "named",
}


def test_the_sample(tmp_path: Path, backend: str) -> None:
    found = tmp_path / "rows.json"
    command = [sys.executable, str(ROOT / "scripts" / "closes.py"), "--backends", backend, "--json", str(found)]
    done = subprocess.run(
        [*command, "--only", ",".join(SAMPLE)], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(found.read_text())
    assert {row["script"]: row["mark"] for row in rows} == SAMPLE
    assert all(row["reported"] is not None for row in rows)
