"""The page of a run that a Ledger kept: what the loss was made of, step by step, and what drove which layer."""

from __future__ import annotations

from lossproof.ledger.runfile import RunRecord
from lossproof.report.html.accounts import account_table, charts_of
from lossproof.report.html.chart import Table
from lossproof.report.html.page import page
from lossproof.report.wording import number


def run_to_html(run: RunRecord) -> str:
    """The page: one file, no network.

    Args:
        run: What `lossproof.ledger.runfile.read_run` read.

    Raises:
        MissingExtra: Jinja2 or Plotly is not installed.
    """
    charts = charts_of(run.entries)
    facts = [f"an account every {run.every} steps"]
    if run.gradients is not None:
        facts.append(f"gradients every {run.gradients} steps")
    facts.append("finished" if run.finished else "not finished, or killed")
    if run.torn:
        facts.append(f"{run.torn} torn {'line' if run.torn == 1 else 'lines'} passed by")
    return page(
        "run.html",
        charts,
        title=f"lossproof: {run.model}",
        run=run,
        facts=", ".join(facts),
        last=account_table(run.entries[-1]) if run.entries else None,
        epochs=_epochs(run),
        notes=[f"Step {step}: {text}" for step, text in run.notes],
    )


def _epochs(run: RunRecord) -> Table:
    names = list(dict.fromkeys(name for epoch in run.epochs for name in epoch.logs))
    rows = [
        (str(epoch.epoch + 1), str(epoch.step), *(number(epoch.logs.get(name)) for name in names))
        for epoch in run.epochs
    ]
    return Table(("epoch", "steps", *names), tuple(rows))
