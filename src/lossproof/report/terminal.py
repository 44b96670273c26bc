"""The report as a person reads it in a terminal, piped, or in the log of a build."""

from __future__ import annotations

import json
from collections import defaultdict

from rich.console import Console

from lossproof.findings.finding import Counterfactual, Finding, Fix, Severity
from lossproof.report.card import call_text, print_card, print_compact
from lossproof.report.json import plain
from lossproof.report.report import CaptureCard, Report, ScriptError
from lossproof.report.snippet import snippet
from lossproof.report.table import print_table
from lossproof.report.typeset import Part, Typesetter
from lossproof.report.wording import SEVERITIES, last_line, place, sentence, totals

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
# More cards or lines than these say little more; `verbose` shows all of them.
_FULL_CARDS = 4
_COMPACT_CARDS = 8


def render(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Write `report` to `console`.

    Errors and warnings come first, each with its source line, proof and fix; then notes, the objectives, what became of
    the script and the rules, and one line that counts. Nothing of the report is read as rich markup, and only
    characters that the console's encoding has are written. `verbose` leaves nothing out: all rows of notes, the
    evidence, every objective, every rule.
    """
    sheet = Typesetter(console)
    loud = sorted(report.loud, key=lambda f: SEVERITIES.index(f.severity))
    for finding in loud:
        _finding(finding, report, sheet, verbose)
        sheet.blank(2)
    for finding in report.findings:
        if finding.severity == Severity.NOTE:
            if verbose:
                _finding(finding, report, sheet, verbose)
            else:
                _note(finding, sheet)
            sheet.blank()
    _captures(report, sheet, verbose, compact=bool(loud) and not verbose)
    if verbose or not loud:
        _rules(report, sheet)
    for finding in report.allowed:
        where = f" at {place(finding.where)}" if finding.where else ""
        sheet.paragraph(f"Allowed: {finding.code} {finding.name}{where}.", hang=2)
    for code, trace in report.crashed.items():
        _crash(code, trace, sheet, verbose)
    if report.allowed or report.crashed:
        sheet.blank()
    if report.script_error is not None:
        _script_error(report.script_error, sheet)
        sheet.blank()
    for notice in report.notices:
        sheet.paragraph(("Notice: ", "bold"), sentence(notice), hang=2)
    if report.notices:
        sheet.blank()
    worst = min((f.severity for f in report.findings), key=SEVERITIES.index, default=None)
    sheet.paragraph((totals(report), STYLES[worst] if worst else "bold"))


def _finding(finding: Finding, report: Report, sheet: Typesetter, verbose: bool) -> None:
    style = STYLES[finding.severity]
    measured: list[Part] = [f", measured on {finding.measured}"] if finding.measured else []
    sheet.sides(
        [(finding.code, style), " ", (finding.name, "bold")],
        [(finding.severity.value, style), *measured],
    )
    _place(finding, report, sheet)
    if finding.where is not None:
        lines = snippet(finding.where, sheet, style.removeprefix("bold "))
        if lines:
            sheet.blank()
            sheet.print(*lines)
    sheet.blank()
    first, *more = finding.explanation.strip().split("\n\n") if finding.explanation.strip() else [""]
    sheet.paragraph((sentence(finding.title), "bold"), f" {_flowing(first)}", indent=1)
    for text in more:
        sheet.blank()
        sheet.paragraph(_flowing(text), indent=1)
    _proof(finding.counterfactual, sheet, verbose)
    sheet.blank()
    _fix(finding.fix, sheet)
    if verbose:
        _evidence(finding, sheet)
    sheet.blank()
    sheet.line("Intended?  ", (f"# lossproof: allow {finding.code} because <reason>", "cyan"), indent=1)
    sheet.line("More:      ", (f"lossproof explain {finding.code}", "cyan"), indent=1)


def _flowing(text: str) -> str:
    """A paragraph whose line breaks are those of its writer's editor."""
    return " ".join(text.split())


def _place(finding: Finding, report: Report, sheet: Typesetter) -> None:
    card = next((c for c in report.captures if c.id == finding.capture), None)
    call = call_text(card) if card is not None and (len(report.captures) > 1 or finding.where is None) else ""
    if finding.where is None:
        if call:
            sheet.line(call)
        return
    where = finding.where
    rest = (f" in {where.scope}" if where.scope else "") + (f", during {call}" if call else "")
    start = place(where)
    if sheet.text(start, rest).cell_len <= sheet.measure or not rest:
        sheet.line(start, rest)
    else:
        sheet.line(start)
        sheet.paragraph(rest.removeprefix(",").strip(), indent=2)
    if where.remark:
        sheet.paragraph((sentence(where.remark), "dim"))


def _proof(proof: Counterfactual, sheet: Typesetter, verbose: bool) -> None:
    sheet.blank()
    print_table(proof, sheet)
    # Columns with a name of their own say already what was changed.
    unnamed = proof.columns[1] == Counterfactual.columns[1]
    if proof.change and (verbose or unnamed):
        sheet.paragraph((f"{proof.columns[1]}: {proof.change}", "dim"), indent=3, hang=2)


def _fix(fix: Fix, sheet: Typesetter) -> None:
    head = f"Fix at {place(fix.where)}: " if fix.where else "Fix: "
    sheet.paragraph((head, "bold"), _flowing(fix.text), indent=1)
    for line in (fix.code or "").rstrip("\n").split("\n"):
        if line:
            sheet.line((f"+ {line.expandtabs(4)}", "green"), indent=3)


def _evidence(finding: Finding, sheet: Typesetter) -> None:
    if finding.evidence:
        sheet.blank()
        sheet.paragraph(("Evidence", "bold"), indent=1)
        for key, value in finding.evidence.items():
            sheet.paragraph((f"{key}: ", "dim"), json.dumps(plain(value), ensure_ascii=False), indent=3, hang=2)
    if finding.patch:
        sheet.blank()
        sheet.paragraph(("Patch", "bold"), indent=1)
        for line in finding.patch.rstrip("\n").split("\n"):
            sheet.line(line, indent=3)


def _note(finding: Finding, sheet: Typesetter) -> None:
    where = f", {place(finding.where)}" if finding.where else ""
    sheet.sides([(finding.code, STYLES[Severity.NOTE]), " ", (finding.name, "bold")], [f"note{where}"])
    sheet.paragraph(sentence(finding.title), indent=1)


def _captures(report: Report, sheet: Typesetter, verbose: bool, *, compact: bool) -> None:
    beside = f"Keras {report.keras} on {report.backend}"
    full: tuple[CaptureCard, ...] = ()
    if not compact:
        full = report.captures if verbose else report.captures[:_FULL_CARDS]
        for k, card in enumerate(full):
            print_card(card, sheet, "" if k else beside)
            sheet.blank()
    rest = report.captures[len(full) :]
    if rest:
        title = "Further objectives" if full else "Objective" if len(rest) == 1 else "Objectives"
        sheet.sides([(title, "bold")], [] if full else [(beside, "dim")])
        for card in rest[:_COMPACT_CARDS]:
            print_compact(card, sheet)
        if len(rest) > _COMPACT_CARDS:
            sheet.paragraph(f"and {len(rest) - _COMPACT_CARDS} more", indent=1)
        sheet.blank()


def _rules(report: Report, sheet: Typesetter) -> None:
    if not report.checked and not report.skipped:
        return
    sheet.paragraph(("Rules", "bold"))
    if report.checked:
        sheet.paragraph(("checked  ", "dim"), " ".join(report.checked), indent=1, hang=9)
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for code, reason in report.skipped.items():
        reasons[reason].append(code)
    if reasons:
        sheet.paragraph(("not applicable", "dim"), indent=1)
        for reason, codes in reasons.items():
            sheet.paragraph(f"{' '.join(codes)}: {reason}", indent=3, hang=2)
    sheet.blank()


def _crash(code: str, trace: str, sheet: Typesetter, verbose: bool) -> None:
    sheet.paragraph(
        (f"{code} crashed: ", "bold"),
        f"{last_line(trace)} (a defect of lossproof, not of your script; traceback with --debug)",
        hang=2,
    )
    if verbose:
        for line in trace.strip().split("\n"):
            sheet.line(line, indent=2)


def _script_error(error: ScriptError, sheet: Typesetter) -> None:
    if error.explained_by:
        first = error.message.strip().partition("\n")[0]
        where = f" at {place(error.where)}" if error.where else ""
        stopped = f"The script stopped{where} with {error.type}"
        sheet.paragraph(f"{stopped}{f': {first}' if first else ''}", hang=2)
        sheet.paragraph(f"{error.explained_by} above explains it.", indent=2)
        return
    for line in error.traceback.rstrip("\n").split("\n"):
        sheet.line(line.expandtabs(4))
    if error.after_shortening:
        sheet.paragraph("Training had been cut short before this, so the error may come from that: try --full.")
