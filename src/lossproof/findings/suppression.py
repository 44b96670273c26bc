"""`# lossproof: allow LP106 because <reason>`: findings that the user has judged to be meant."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable

from lossproof.findings.finding import Finding, Place

_ALLOW = re.compile(r"#\s*lossproof:\s*allow\s+(?P<codes>LP\d{3}(?:\s*,\s*LP\d{3})*)(?:\s+because\s+(?P<reason>\S.*))?")


def split_allowed(findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding], list[str]]:
    """Separate the findings that stand from those that a comment allows.

    The comment stands on the line of the finding, on the line above it, or on the line of the `def` around it. An
    allowance without a reason is not honoured; it is named in the third result.
    """
    standing: list[Finding] = []
    allowed: list[Finding] = []
    notices: list[str] = []
    for finding in findings:
        comment = next((m for m in map(_ALLOW.search, _lines(finding.where)) if m and finding.code in m["codes"]), None)
        if comment is None:
            standing.append(finding)
        elif comment["reason"]:
            allowed.append(finding)
        else:
            standing.append(finding)
            notices.append(
                f"`# lossproof: allow {finding.code}` gives no reason and is not honoured: "
                f"write `# lossproof: allow {finding.code} because <reason>`"
            )
    return standing, allowed, notices


def _lines(where: Place | None) -> list[str]:
    if where is None:
        return []
    numbers = [where.line, where.line - 1]
    lines = linecache.getlines(where.file)
    for number in range(where.line - 1, 0, -1):
        if number <= len(lines) and lines[number - 1].lstrip().startswith("def "):
            numbers.append(number)
            break
    return [lines[n - 1] for n in numbers if 0 < n <= len(lines)] + ([where.source] if where.source else [])
