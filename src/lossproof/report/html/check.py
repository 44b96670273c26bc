"""The page of a check: findings with annotated source and proof, the objectives, what ran."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import dataclass

from lossproof.findings.finding import Finding, Severity
from lossproof.ledger.course import Course
from lossproof.report.card import call_text, facts
from lossproof.report.html.accounts import account_table, charts_of, composition, parts_of
from lossproof.report.html.chart import Chart, Table, curves
from lossproof.report.html.objective import sums, tensors
from lossproof.report.html.page import page
from lossproof.report.json import plain
from lossproof.report.report import CaptureCard, Report
from lossproof.report.snippet import snippet
from lossproof.report.table import rows_of
from lossproof.report.typeset import Typesetter, console_for
from lossproof.report.wording import SEVERITIES, count, numbers, place, sentence, totals

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
    charts: tuple[Chart, ...]
    """Of the captured batch."""
    course: tuple[Chart, ...]
    """Of the first steps, and of weights as they are scheduled."""
    course_title: str
    course_remark: str


def to_html(report: Report) -> str:
    """The page: one file, no network.

    Raises:
        MissingExtra: Jinja2 or Plotly is not installed.
    """
    findings = [_shown(f, report) for f in sorted(report.findings, key=lambda f: SEVERITIES.index(f.severity))]
    objectives = [_objective(card) for card in report.captures]
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for code, reason in report.skipped.items():
        reasons[reason].append(code)
    return page(
        "check.html",
        [chart for one in objectives for chart in (*one.charts, *one.course)],
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


def _objective(card: CaptureCard) -> Objective:
    contributions = composition(_contributions(card))
    course = card.course
    entries = course.entries if course is not None else ()
    charts = charts_of(entries)
    if course is not None and course.schedules:
        charts.append(_scheduled(course))
    return Objective(
        title=call_text(card),
        card=card,
        received=tensors(card),
        values=sums(card) if course is None else account_table(course.batch),
        sentences=tuple(facts(card)),
        charts=() if contributions is None else (contributions,),
        course=tuple(charts),
        course_title=f"Its first {count(len(entries), 'step')}" if len(entries) > 1 else "Its first step",
        course_remark=(
            "Run again from the weights with which training began, without callbacks; everything was put back."
            if entries
            else f"Its steps were not run again: {course.unseen}."
            if course is not None and course.unseen
            else ""
        ),
    )


def _scheduled(course: Course) -> Chart:
    return curves(
        "Weights as scheduled",
        "Of the terms whose weight is a schedule, over the steps that the script asks for.",
        course.at,
        course.schedules,
        "weight",
        stacked=False,
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


def _contributions(card: CaptureCard) -> dict[str, float]:
    """What each part adds to the total: as the account has it, else as far as the card tells."""
    if card.course is not None:
        return parts_of(card.course.batch)
    parts = {
        term.name: term.value * (1.0 if term.weight is None else term.weight)
        for term in card.terms
        if term.value is not None
    }
    return parts if card.regularization is None else {**parts, "regularization": card.regularization}
