"""The command line: statuses, streams, options, and one clear line for each misuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossproof.cli import main
from lossproof.pipeline import Misuse, selected

HEALTHY = """
import sys
import keras, numpy as np
print("said by the script", sys.argv[1:])
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.eye(2), np.ones((2, 1)), verbose=0)
"""
GUILTY = HEALTHY.replace('"mse"', 'loss=["mse", "mae"]')
RAISES = HEALTHY + "\nraise RuntimeError('of my own')\n"


def run(folder: Path, *arguments: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
    if script is not None:
        (folder / "train.py").write_text(script, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "lossproof", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "status", "codes"), [(HEALTHY, 0, []), (GUILTY, 1, ["LP412"]), (RAISES, 2, [])], ids=["0", "1", "2"]
)
def test_exit_status_and_a_report_alone_on_stdout(tmp_path: Path, script: str, status: int, codes: list[str]) -> None:
    done = run(tmp_path, "check", "--format", "json", "train.py", "--size", "3", script=script)
    assert done.returncode == status, done.stderr
    report = json.loads(done.stdout)
    assert [one["code"] for one in report["findings"]] == codes
    assert "said by the script ['--size', '3']" in done.stderr
    if status == 2:
        assert report["script_error"]["type"] == "RuntimeError"
        assert "of my own" in report["script_error"]["message"]
        assert "lossproof" not in report["script_error"]["traceback"]


def test_a_report_in_a_file_leaves_stdout_to_the_script(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "train.py", "-o", "report.json", "--format", "json", script=GUILTY)
    assert done.returncode == 1, done.stderr
    assert done.stdout == "said by the script []\n"
    assert json.loads((tmp_path / "report.json").read_text())["script"] == "train.py"


def test_what_stands_after_two_dashes_is_the_scripts(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--select", "LP4", "train.py", "--", "--select", "LP101", "--full", script=HEALTHY)
    assert done.returncode == 0, done.stderr
    assert "said by the script ['--select', 'LP101', '--full']" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "no script given"),
        (["check", "--wrong"], "unknown option --wrong"),
        (["check", "no_such.py"], "no such script: no_such.py"),
        (["check", "."], "is a folder: give the script that trains"),
        (["check", "--select", "LP999", "x.py"], "unknown rule 'LP999': expected one of LP101"),
        (["check", "x.py", "-o", "nowhere/report.txt"], "the folder nowhere does not exist"),
        (["explain", "LP999"], "unknown rule 'LP999'"),
    ],
)
def test_misuse_is_one_line_and_status_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("lossproof: ")
    assert told.err.count("\n") == 1
    assert said in told.err


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('nothing')\n", "never imported keras"),
        ("import keras\n", "No call of fit, evaluate, train_on_batch or test_on_batch was seen"),
    ],
    ids=["no keras", "no training"],
)
def test_a_script_without_an_objective(tmp_path: Path, script: str, said: str) -> None:
    done = run(tmp_path, "check", "train.py", script=script)
    assert done.returncode == 2
    assert said in " ".join((done.stdout + done.stderr).split())


def test_a_backend_that_is_not_installed(tmp_path: Path, backend: str) -> None:
    # Another package of this name, found first, which fails as a missing one does.
    package = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}[backend]
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module', name={package!r})\n")
    done = run(tmp_path, "check", "train.py", script=HEALTHY)
    assert done.returncode == 2
    assert f"needs {package}, which is not installed: pip install 'lossproof[{package}]'" in done.stderr


def test_an_old_keras(tmp_path: Path) -> None:
    old = (
        "import importlib.metadata as m\nreal = m.version\nm.version = lambda n: '3.3.1' if n == 'keras' else real(n)\n"
    )
    done = run(tmp_path, "check", "train.py", script=old + HEALTHY)
    assert done.returncode == 2
    assert "Keras 3.3.1 is installed, lossproof needs 3.15 or newer" in done.stderr


def test_codes_select_and_ignore_by_their_beginning() -> None:
    family = [rule.code for rule in selected(["LP2"], ["LP203"])]
    assert "LP201" in family
    assert "LP203" not in family
    assert all(code.startswith("LP2") for code in family)
    with pytest.raises(Misuse, match="unknown rule 'banana'"):
        selected(["banana"])


def test_the_list_and_the_page_of_a_rule_need_no_keras(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("raise RuntimeError('imported')\n")
    listed, page = run(tmp_path, "rules"), run(tmp_path, "explain", "batch-broadcast")
    assert (listed.returncode, page.returncode) == (0, 0)
    assert all(rule.code in listed.stdout for rule in selected())
    assert "LP101" in page.stdout
    assert "# lossproof: allow LP101 because <reason>" in page.stdout


RULE_THAT_CRASHES = """
from lossproof.rules import registry
from lossproof.rules.wiring.lp412_dropped_loss import DroppedLoss
DroppedLoss.check = lambda self, lab: 1 / 0
"""


def test_a_rule_that_crashes_stops_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--format", "json", "--debug", "train.py", script=RULE_THAT_CRASHES + GUILTY)
    report = json.loads(done.stdout)
    assert "ZeroDivisionError" in report["rules"]["crashed"]["LP412"]
    assert "LP101" in report["rules"]["checked"]
    assert "LP412 crashed" in done.stderr
    assert report["captures"]


LOST_GPU = """
import os
import keras
import numpy as np

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
if os.environ.get("CUDA_VISIBLE_DEVICES") != "":
    raise RuntimeError("CUDA error: device-side assert triggered")
model.fit(np.ones((8, 2), "float32"), np.ones((8, 1), "float32"), verbose=0)
"""


def test_a_script_that_loses_its_gpu_is_checked_again_on_the_cpu(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--format", "json", "train.py", script=LOST_GPU)
    assert done.returncode == 0, done.stderr
    assert "again on the CPU" in done.stderr
    assert json.loads(done.stdout)["script_error"] is None


@pytest.mark.parametrize(
    ("platform", "set_to", "expected"), [("darwin", None, "cpu"), ("darwin", "mps", "mps"), ("linux", None, None)]
)
def test_on_macos_keras_takes_the_cpu_for_pytorch(
    monkeypatch: pytest.MonkeyPatch, platform: str, set_to: str | None, expected: str | None
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("KERAS_TORCH_DEVICE", raising=False)
    if set_to is not None:
        monkeypatch.setenv("KERAS_TORCH_DEVICE", set_to)
    assert main(["check", "no such script.py"]) == 2
    assert os.environ.get("KERAS_TORCH_DEVICE") == expected
    monkeypatch.delenv("KERAS_TORCH_DEVICE", raising=False)
