"""The report as SARIF 2.1.0, for code scanning and editors.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0 (2020); section numbers below are of that text.
"""

from __future__ import annotations

import json
import os
from pathlib import PurePath, PureWindowsPath
from urllib.parse import quote

from lossproof.findings.finding import Finding, Place
from lossproof.report.json import Json, plain
from lossproof.report.report import Report
from lossproof.report.wording import last_line, message, printable

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def to_sarif(report: Report) -> str:
    """`report` as one SARIF run, on one line of ASCII.

    Lines and columns count from 1, in code points. A notebook's location names the file and, as a logical location, the
    cell: lines within a cell are not lines of the file. Silenced findings are suppressed results. The columns of an
    expression that ends on a later line are left open.
    """
    found = {f.code: f for f in (*report.findings, *report.allowed)}
    codes = sorted(found)
    results: list[Json] = [_result(f, codes.index(f.code)) for f in report.findings]
    results += [{**_result(f, codes.index(f.code)), "suppressions": [{"kind": "inSource"}]} for f in report.allowed]
    rules: list[Json] = [{"id": code, "name": found[code].name} for code in codes]
    content: dict[str, Json] = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "lossproof", "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "invocations": [_invocation(report)],
                "results": results,
            }
        ],
    }
    return json.dumps(plain(content), allow_nan=False)


def _invocation(report: Report) -> Json:
    """How the run went (3.20): a failed script and crashed rules are told here, not as results."""
    error = report.script_error
    failed = error is not None and error.explained_by is None
    told: list[Json] = [
        {
            "level": "error",
            "message": {"text": f"rule {code} crashed: {last_line(trace)}"},
            "associatedRule": {"id": code},
        }
        for code, trace in report.crashed.items()
    ]
    if error is not None and failed:
        told.append({"level": "error", "message": {"text": f"the script failed: {error.type}: {error.message}"}})
    told += [{"level": "note", "message": {"text": text}} for text in report.notices]
    invocation: dict[str, Json] = {"executionSuccessful": not failed}
    if told:
        invocation["toolExecutionNotifications"] = told
    return invocation


def _result(finding: Finding, rule: int) -> dict[str, Json]:
    result: dict[str, Json] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity.value,
        "message": {"text": printable(message(finding))},
    }
    if finding.where is not None:
        result["locations"] = [_location(finding.where)]
    return result


def _location(where: Place) -> Json:
    physical: dict[str, Json] = {"artifactLocation": {"uri": _uri(where.file)}}
    logical: list[Json] = []
    if where.cell is None:
        physical["region"] = _region(where)
    else:
        logical.append({"name": f"cell {where.cell}", "kind": "module"})
    if where.scope is not None:
        logical.append({"fullyQualifiedName": where.scope, "kind": "function"})
    location: dict[str, Json] = {"physicalLocation": physical}
    if logical:
        location["logicalLocations"] = logical
    return location


def _region(where: Place) -> Json:
    region: dict[str, Json] = {"startLine": where.line}
    if where.column is not None:
        region["startColumn"] = where.column + 1
        over = "\n" in (where.expression or "")
        if where.end_column is not None and where.end_column > where.column and not over:
            region["endColumn"] = where.end_column + 1
    return region


def _uri(file: str) -> str:
    """A relative path as a relative reference, an absolute one as a `file:` URI (3.4.3)."""
    try:
        raw = os.fsencode(file)
    except UnicodeEncodeError:  # no name that this file system could have
        raw = file.encode("utf-8", "replace")
    path = PurePath(os.fsdecode(raw))
    if path.is_absolute():
        return path.as_uri()
    # Colons are escaped too: "a:b.py" would read as a scheme.
    return quote(raw.replace(b"\\", b"/") if isinstance(path, PureWindowsPath) else raw, safe="/")
