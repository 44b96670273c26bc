"""A script that is checked with --full is the script itself: the same weights, losses, histories and random numbers.

`runs/many_trainings.py` trains in each way that Keras offers and prints what would tell a change. It runs twice, under
Python and under `lossproof check --full`, and each scenario is compared by itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "runs" / "many_trainings.py"
SCENARIOS = re.findall(r"@scenario\n *def (\w+)", SCRIPT.read_text(encoding="utf-8"))
OF_ONE_BACKEND = {"tf_data": "tensorflow", "data_loader": "torch"}


@dataclass(frozen=True)
class Runs:
    """What the script printed for each scenario, alone and checked, and the report."""

    alone: dict[str, Any]
    checked: dict[str, Any]
    report: dict[str, Any]


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=500,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    check = ["-m", "lossproof", "check", "--full", "--select", "LP404", "--format", "json", "-o", "report.json"]
    # Side by side, because each takes most of a minute.
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda command: run([*command, str(SCRIPT)], folder, environment), ([], check)))
    for one in done:
        assert one.returncode == 0, one.stderr[-3000:]
    told = [[json.loads(line[2:]) for line in one.stdout.splitlines() if line.startswith("# {")] for one in done]
    alone, checked = ({one.pop("name"): one for one in lines} for lines in told)
    return Runs(alone, checked, json.loads((folder / "report.json").read_text()))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("what", ["variables", "reported", "draws", "names"])
def test_a_checked_script_is_the_script_itself(runs: Runs, scenario: str, what: str, backend: str) -> None:
    if OF_ONE_BACKEND.get(scenario, backend) != backend:
        pytest.skip(f"for {OF_ONE_BACKEND[scenario]} only")
    assert runs.checked[scenario][what] == runs.alone[scenario][what]


def test_nothing_failed_while_watching(runs: Runs, backend: str) -> None:
    calls = {capture["call"] for capture in runs.report["captures"]}
    # On JAX the losses of a loop are called only under `jax.value_and_grad`, where they have no values.
    assert calls == {"fit", "train_on_batch"} | ({"Loss.__call__"} if backend != "jax" else set())
    assert runs.report["rules"]["checked"] == ["LP404"]
    assert runs.report["rules"]["crashed"] == {}
    assert not [text for text in runs.report["notices"] if "could not look" in text]
