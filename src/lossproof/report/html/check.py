"""The page of a check: findings with annotated source and proof, the objectives, what ran."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import dataclass

from lossproof.findings.finding import Finding, Severity
from lossproof.report.card import call_text, facts
from lossproof.report.html.chart import Chart, Table, bars
from lossproof.report.html.objective import sums, tensors
from lossproof.report.html.page import page
from lossproof.report.json import plain
from lossproof.report.report import CaptureCard, Report
from lossproof.report.snippet import snippet
from lossproof.report.table import rows_of
from lossproof.report.typeset import Typesetter, console_for
from lossproof.report.wording import SEVERITIES, numbers, place, sentence, totals

# Wide enough that no line of source is cut: the browser scrolls.
_UNCUT = 10_000


@dataclass(frozen=True)
class Shown:
    """A finding in the words of the page."""

    finding: Finding
    title: str
    where: str
    during: str
    source: str
    """The lines at fault with marks under their parts, as the terminal shows them."""
    paragraphs: tuple[str, ...]
    proof: Table
    remarks: tuple[str, ...]
    change: str
    fix_at: str
    evidence: str


@dataclass(frozen=True)
class Objective:
    """A captured objective in the words of the page."""

    title: str
    card: CaptureCard
    received: Table
    values: Table
    sentences: tuple[str, ...]
    chart: Chart | None


def to_html(report: Report) -> str:
    """The page: one file, no network.

    Raises:
        MissingExtra: Jinja2 or Plotly is not installed.
    """
    findings = [_shown(f, report) for f in sorted(report.findings, key=lambda f: SEVERITIES.index(f.severity))]
    objectives = [
        Objective(call_text(card), card, tensors(card), sums(card), tuple(facts(card)), _contributions(card))
        for card in report.captures
    ]
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for code, reason in report.skipped.items():
        reasons[reason].append(code)
    return page(
        "check.html",
        [one.chart for one in objectives if one.chart is not None],
        title=f"lossproof: {report.script or 'report'}",
        report=report,
        totals=totals(report),
        findings=[one for one in findings if one.finding.severity != Severity.NOTE],
        notes=[one for one in findings if one.finding.severity == Severity.NOTE],
        objectives=objectives,
        reasons=reasons,
        allowed=[f"{one.code} {one.name}" + (f" at {place(one.where)}" if one.where else "") for one in report.allowed],
        notices=[sentence(notice) for notice in report.notices],
    )


def _shown(finding: Finding, report: Report) -> Shown:
    card = next((card for card in report.captures if card.id == finding.capture), None)
    proof = finding.counterfactual
    rows = rows_of(proof)
    values = numbers([value for row in rows for value in (row.before, row.after)])
    used = 4 if any(row.remark for row in rows) else 3
    body = tuple((row.label, values[2 * k], values[2 * k + 1], row.remark)[:used] for k, row in enumerate(rows))
    where = finding.where
    return Shown(
        finding=finding,
        title=sentence(finding.title),
        where="" if where is None else place(where) + (f" in {where.scope}" if where.scope else ""),
        during="" if card is None else call_text(card),
        source=_source(finding),
        paragraphs=tuple(" ".join(text.split()) for text in finding.explanation.split("\n\n") if text.strip()),
        proof=Table(("", *proof.columns, "")[:used], body),
        remarks=(sentence(where.remark),) if where is not None and where.remark else (),
        change=proof.change,
        fix_at=place(finding.fix.where) if finding.fix.where else "",
        evidence=json.dumps(plain(finding.evidence), indent=1, ensure_ascii=False) if finding.evidence else "",
    )


def _source(finding: Finding) -> str:
    if finding.where is None:
        return ""
    sheet = Typesetter(console_for(io.StringIO(), width=_UNCUT))
    lines = [line.plain.rstrip() for line in snippet(finding.where, sheet, "")]
    while lines and not lines[-1].strip(" |"):
        lines.pop()
    return "\n".join(lines)


def _contributions(card: CaptureCard) -> Chart | None:
    """What each term adds to the total, where there is more than one part."""
    parts = {
        term.name: term.value * (1.0 if term.weight is None else term.weight)
        for term in card.terms
        if term.value is not None
    }
    if card.regularization is not None:
        parts["regularization"] = card.regularization
    if len(parts) < 2:
        return None
    return bars(
        "What the total is made of",
        "Each term on the captured batch, times its weight.",
        parts,
        "contribution to the loss",
    )
