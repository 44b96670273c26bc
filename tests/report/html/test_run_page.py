"""The page of a run: every number that the file holds, charts that a browser draws, and names that do nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossproof.cli import main
from lossproof.ledger.entry import Entry, GradientEntry, PenaltyEntry, TermEntry
from lossproof.ledger.runfile import RunWriter, entry_line, read_run
from lossproof.report.html.run import run_to_html

from .test_check_page import read

HOSTILE = "<img src=x onerror=document.title='hacked'>"
PARTS = ("mse", "kl", "regularization")
GRADIENTS = GradientEntry(
    parts=PARTS,
    groups=("encoder", "decoder"),
    norms=((1.5, 0.5, 0.1), (2.5, 0.0, 0.1)),
    norm=(2.915, 0.5, 0.1414),
    cosines=((1.0, -0.25, None), (-0.25, 1.0, 0.5), (None, 0.5, 1.0)),
    shares=((0.75, 0.25, 0.0), (1.0, None, 0.0)),
    share=(0.875, 0.125, 0.0),
    undriven=("decoder/bias",),
)


def account(step: int, sign: float = 1.0) -> Entry:
    weight = 0.1 * step
    terms = (
        TermEntry("mse", "mean_squared_error", None, 7.25 - step, 1.0, 7.25 - step),
        TermEntry("kl", "kl", None, sign * 2.0, weight, sign * 2.0 * weight),
    )
    penalty = PenaltyEntry("l2", "regularizer", "encoder", "L2(l2=0.01) of kernel", 0.03125, 1.0, 0.03125)
    total = sum(term.contribution for term in terms) + penalty.contribution
    return Entry(
        terms, (penalty,), total, 0.0, step=step, epoch=0, learning_rate=0.01 / (1 + step), gradients=GRADIENTS
    )


def run(folder: Path, name: str = "vae", sign: float = 1.0) -> Path:
    writer = RunWriter(folder)
    head = {"lossproof": "0", "keras": "3", "backend": "torch", "model": name, "every": 1, "gradients": 1}
    writer.begin(head, 0, 0, 0.0)
    for step in range(4):
        writer.write(entry_line(account(step, sign)))
    writer.write({"kind": "epoch", "epoch": 0, "step": 4, "logs": {"loss": 5.9375, "mae": 1.5}})
    writer.write({"kind": "note", "step": 2, "text": "no gradient at this step"})
    writer.write({"kind": "end", "step": 4, "time": 1.0, "undriven": ["decoder/bias"]})
    writer.close()
    return folder


def test_the_page_holds_the_numbers_of_the_run(tmp_path: Path) -> None:
    words = read(run_to_html(read_run(run(tmp_path)))).text["body"]
    last = account(3)
    for part in (
        "4.250",
        "0.6000",
        f"{last.total:.3f}",
        "0.03125",
        "5.938",
        "decoder/bias",
        "no gradient at this step",
    ):
        assert part in words, part
    for title in ("What the loss was made of", "Weights that moved", "Learning rate", "Which term drives which layer"):
        assert title in words
    assert "Which terms pull against each other" in words


def test_parts_of_both_signs_are_not_stacked(tmp_path: Path) -> None:
    run_page = run_to_html(read_run(run(tmp_path, sign=-1.0)))
    assert '"stackgroup"' not in run_page.split("Weights that moved")[0].split("What the loss was made of")[1]
    assert '"stackgroup"' in run_to_html(read_run(run(tmp_path / "other")))


def test_a_run_without_accounts_is_a_page_that_says_so(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.begin({"model": "m", "every": 1, "gradients": None}, 0, 0, 0.0)
    writer.close()
    assert "holds no account" in read(run_to_html(read_run(tmp_path))).text["body"]


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = run(tmp_path / "a"), tmp_path / "run.html"
    assert main(["ledger", "view", str(folder), "-o", str(file)]) == 0
    assert file.read_text(encoding="utf-8") == run_to_html(read_run(folder))
    assert main(["ledger", "view", str(tmp_path / "nowhere")]) == 2
    assert "no ledger at" in capsys.readouterr().err


@pytest.mark.backend("torch")  # a browser knows no backend: once is enough
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_draws_every_chart(tmp_path: Path, open_page: Callable[..., Any], width: int) -> None:
    opened = open_page(run_to_html(read_run(run(tmp_path, name=HOSTILE))), width=width, dark=width < 500)
    assert opened.said == []
    assert opened.asked == []
    assert opened.page.title() == f"lossproof: {HOSTILE}"
    plots = opened.page.locator(".plot .main-svg:first-child")
    assert plots.count() == 6
    for k in range(plots.count()):
        box = plots.nth(k).bounding_box()
        assert box["x"] + box["width"] <= width + 1
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
