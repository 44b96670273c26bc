"""The report as workflow commands, which GitHub Actions shows as annotations on the lines of a change."""

from __future__ import annotations

from pathlib import PurePath

from lossproof.findings.finding import Place, Severity
from lossproof.report.report import Report
from lossproof.report.wording import last_line, message, printable

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def to_github(report: Report) -> str:
    """One `::error file=...,line=...,col=...,title=...::message` a line for each finding, crash and failure.

    Lines and columns count from 1. Notebook cells have no lines that GitHub knows, so only the file is named and the
    message says which cell. A failure that a finding explains is not told twice. Escaped as GitHub's toolkit does it
    (`@actions/core`, command.ts): `%`, carriage returns and newlines, and in properties also `:` and `,`.
    """
    lines = [_command(_COMMANDS[f.severity], f.where, f"{f.code} {f.name}", message(f)) for f in report.findings]
    for code, trace in report.crashed.items():
        text = f"{last_line(trace)} (a defect of lossproof, not of your script)"
        lines.append(_command("warning", None, f"{code} crashed", text))
    error = report.script_error
    if error is not None and error.explained_by is None:
        lines.append(_command("error", error.where, f"script failed: {error.type}", error.message))
    lines += [_command("notice", None, "lossproof", notice) for notice in report.notices]
    return "\n".join(lines)


def _command(command: str, where: Place | None, title: str, text: str) -> str:
    properties: list[tuple[str, str]] = []
    if where is not None:
        properties.append(("file", PurePath(where.file).as_posix()))
        if where.cell is None:
            properties.append(("line", str(where.line)))
            if where.column is not None:
                properties.append(("col", str(where.column + 1)))
    properties.append(("title", title))
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties)
    return f"::{command} {listed}::{_data(text)}"


def _data(text: str) -> str:
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
