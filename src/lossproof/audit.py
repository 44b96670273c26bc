"""Apply the rules to what was captured: `Run` in, findings and cards out."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lossproof.capture.record import Capture, Run
from lossproof.findings.finding import Finding, Severity
from lossproof.lab.lab import Lab
from lossproof.ledger.course import Course
from lossproof.report.report import CaptureCard
from lossproof.rules.rule import NotApplicable, Rule

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass
class Verdict:
    """What the rules say of a run."""

    findings: list[Finding] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    crashed: dict[str, str] = field(default_factory=dict)
    cards: list[CaptureCard] = field(default_factory=list)


def audit(run: Run, rules: Sequence[Rule], course: bool = False) -> Verdict:
    """Apply every rule to every capture that is worth it; a rule that crashes stops nothing.

    Args:
        run: What was captured.
        rules: The rules to apply, in order.
        course: Whether the cards tell how each objective of several parts goes on, which runs its first steps again.
    """
    from lossproof.lab.card import card_of  # the card needs the same experiments as the rules

    verdict = Verdict()
    for capture in worth_auditing(run):
        lab = Lab(capture, run)
        with capture.as_it_was(), lab.backend.refusing():
            before = len(verdict.findings)
            for rule in rules:
                _apply(rule, lab, verdict)
            verdict.findings[before:] = _most_exact(verdict.findings[before:], rules)
            card = card_of(lab)
            verdict.cards.append(replace(card, course=_course(lab)) if course else card)
    for code in verdict.checked | set(verdict.crashed):
        verdict.skipped.pop(code, None)
    verdict.findings = _distinct(verdict.findings)
    return verdict


def _course(lab: Lab) -> Course | None:
    from lossproof.ledger.rehearsed import course_of

    try:
        return course_of(lab)
    except Exception:  # an objective that cannot be evaluated, of which the card says so; no chart is worth a check
        return None


def worth_auditing(run: Run) -> list[Capture]:
    """Every training call, and an evaluation only where the same objective was not trained."""
    trained = {(id(one.model), id(one.compiled)) for one in run.captures if one.training and one.error is None}
    return [one for one in run.captures if one.training or (id(one.model), id(one.compiled)) not in trained]


def _apply(rule: Rule, lab: Lab, verdict: Verdict) -> None:
    try:
        found = [replace(finding, capture=lab.capture.id) for finding in rule.check(lab)]
    except NotApplicable as reason:
        verdict.skipped.setdefault(rule.code, str(reason))
    except Exception:  # a defect of the rule must not hide what the others find
        verdict.crashed.setdefault(rule.code, traceback.format_exc())
    else:
        verdict.checked.add(rule.code)
        verdict.findings += found


def _most_exact(findings: list[Finding], rules: Sequence[Rule]) -> list[Finding]:
    """The findings of one capture without those that another one states more exactly."""
    loud = {finding.code for finding in findings if finding.severity is not Severity.NOTE}
    weaker = {rule.code for rule in rules if loud & set(rule.yields_to)}
    return [finding for finding in findings if finding.code not in weaker]


def _distinct(findings: list[Finding]) -> list[Finding]:
    """Each bug once: the same code at the same place is one bug, however many captures show it."""
    kept: dict[object, Finding] = {}
    for finding in findings:
        where = finding.where
        key = (finding.code, (where.file, where.line, where.column) if where else finding.title)
        if key not in kept or _ORDER[finding.severity] < _ORDER[kept[key].severity]:
            kept[key] = finding
    return sorted(kept.values(), key=lambda one: (_ORDER[one.severity], one.code))
