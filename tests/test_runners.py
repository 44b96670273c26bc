"""The scripts that judge the tests and the cases: a failure must not read as a success."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).resolve().parent


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_under_test_{Path(path).stem}", TESTS / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


run_backends = load("run_backends.py")
score = load("cases/score.py")


def run_pytest(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> run_backends.Run:
    test_file = folder / "test_it.py"
    test_file.write_text(source, encoding="utf-8")
    monkeypatch.setattr(run_backends, "ROOT", folder)
    return run_backends.run("jax", [str(test_file)])


def test_a_run_counts_and_gets_its_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = """
import os, pytest
def test_backend(): assert os.environ["KERAS_BACKEND"] == "jax"
def test_other(): pass
@pytest.mark.skip
def test_later(): pass
"""
    run = run_pytest(monkeypatch, tmp_path, source)
    assert (run.passed, run.failed, run.skipped, run.status, run.good) == (2, 0, 1, 0, True)


@pytest.mark.parametrize(
    ("source", "last_line"),
    [
        ("def test_good(): pass\ndef test_bad(): assert False\n", "1 passed, 1 failed, 0 skipped"),
        ("import no_such_module\n", "0 passed, 1 failed, 0 skipped"),
        ("", "0 passed, 1 failed, 0 skipped"),
        ("import os\ndef test_dies(): os._exit(0)\n", "0 passed, 1 failed, 0 skipped"),
        ("import pytest\ndef test_none(): pytest.skip()\n", "0 passed, 1 failed, 1 skipped"),
    ],
    ids=["a failure", "an error", "no test", "a crash that exits with 0", "only skips"],
)
def test_a_run_that_fails_or_tests_nothing_is_not_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, last_line: str
) -> None:
    run = run_pytest(monkeypatch, tmp_path, source)
    assert not run.good
    assert run_backends.summary([run]).splitlines()[-1] == last_line
    assert "FAILED" in run_backends.summary([run])


def scored(
    monkeypatch: pytest.MonkeyPatch, bug: dict[str, str], healthy: dict[str, str] | None = None, *, note: bool = False
) -> score.Row:
    """The row of a case expecting LP201 (LP203 is right too, LP305 allowed), from {code: severity} of both scripts."""
    found = {"train.py": bug, "fixed.py": healthy or {}}
    rules = {"checked": ["LP101", "LP201", "LP203"], "skipped": {"LP305": "one backend"}}

    def check(script: Path, backend: str, timeout: float) -> score.Answer:
        findings = [{"code": code, "severity": severity} for code, severity in found[script.name].items()]
        return score.understood({"findings": findings, "rules": rules}, 1 if findings else 0, 1.0)

    monkeypatch.setattr(score, "check", check)
    return score.score(score.Case(Path("it"), ("jax",), ("LP201", "LP203"), ("LP305",), note), "jax", 1.0)


@pytest.mark.parametrize(
    ("bug", "mark"),
    [
        ({"LP201": "error"}, "hit"),
        ({"LP201": "warning", "LP305": "warning"}, "hit"),
        ({"LP203": "error"}, "near"),
        ({"LP201": "note"}, "MISS"),
        ({}, "MISS"),
    ],
)
def test_the_mark_of_a_case(monkeypatch: pytest.MonkeyPatch, bug: dict[str, str], mark: str) -> None:
    row = scored(monkeypatch, bug)
    assert (row.mark, row.noise, row.good) == (mark, (), mark == "hit")


def test_a_note_counts_where_the_case_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scored(monkeypatch, {"LP201": "note"}, note=True).mark == "hit"


def test_noise_and_false_alarms_spoil_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = scored(monkeypatch, {"LP201": "error", "LP101": "warning"})
    false = scored(monkeypatch, {"LP201": "error"}, {"LP201": "warning", "LP101": "note"})
    assert (noisy.mark, noisy.noise, noisy.good) == ("hit", ("LP101",), False)
    assert (false.mark, false.false, false.good) == ("hit", ("LP201",), False)


def test_a_case_without_a_rule_is_still_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = score.Answer(rules=frozenset({"LP101"}))
    monkeypatch.setattr(score, "check", lambda *_: answer)
    case = score.Case(Path("it"), ("jax",), ("LP701",), (), False)
    assert score.score(case, "jax", 1.0).mark == "todo"


def test_a_script_that_gets_no_report_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("", encoding="utf-8")
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho chatter; echo '{}'; echo 'last words' >&2; exit 3\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    failure = score.check(script, "jax", 60.0).failure
    assert failure is not None
    assert "exit status 3" in failure
    assert "last words" in failure


def test_every_case_is_complete() -> None:
    folders = [folder for folder in (TESTS / "cases").iterdir() if folder.is_dir() and folder.name != "__pycache__"]
    assert folders
    for folder in folders:
        case = score.Case.read(folder)
        assert case.expect, folder.name
        assert set(case.backends) <= set(score.BACKENDS), folder.name
        assert (folder / "train.py").is_file(), folder.name
        assert (folder / "fixed.py").is_file(), folder.name


def test_every_test_is_in_one_part() -> None:
    """What no part names is left to the last, which ignores what the others name."""
    named = [path for part in run_backends.PARTS for path in part]
    assert len(set(named)) == len(named)
    assert all((run_backends.ROOT / path).is_dir() for path in named)
    folders = (run_backends.ROOT / "tests/rules").iterdir()
    families = {f"tests/rules/{folder.name}" for folder in folders if any(folder.glob("test_*.py"))}
    assert families <= set(named)


def test_the_parts_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = iter((0, 5, 1, 0))

    def run(backend: str, arguments: list[str]) -> run_backends.Run:
        status = next(statuses)
        counts = (0, 0, 0) if status == 5 else (3, status, 2)
        return run_backends.Run(backend, str(arguments[0]), status, 1.5, *counts)

    monkeypatch.setattr(run_backends, "run", run)
    whole = run_backends.run_parts("jax", ["-k", "lab"])
    assert (whole.status, whole.passed, whole.failed, whole.skipped, whole.seconds) == (1, 9, 1, 6, 6.0)
    assert not whole.good
    assert whole.output.split("\n")[-1] == "tests"


def test_a_part_that_dies_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def died(status: int) -> run_backends.Run:
        return run_backends.Run("jax", "", status, 1.0, *(() if status else (3, 0, 0)))

    statuses = iter((0, -11, 0, 0))
    monkeypatch.setattr(run_backends, "run", lambda *_: died(next(statuses)))
    whole = run_backends.run_parts("jax", [])
    assert not whole.good
    assert whole.status == -11
