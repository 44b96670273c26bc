"""A trace as JSON: versioned like the report of a check."""

from __future__ import annotations

import json

from lossproof.report.json import VERSION, Json, place_json, plain, script_error_json
from lossproof.report.traced import Expression, TracedCapture, TracedFunction, TracedTerm, TraceReport


def to_json(report: TraceReport) -> str:
    """`report` on one line of ASCII. Keys may be added within one version, none is renamed.

    `expressions` stand in the order of evaluation. `first` and `last` list the tensors and numbers of a value: `part`
    says where each stands in a list or dict, `shape` is null for a Python number, `low`, `high` and `mean` are over finite
    entries and null where there are none. `gradient` is null where none was asked for or the loss does not depend on it.
    """
    content: dict[str, Json] = {
        "version": VERSION,
        "script": report.script,
        "backend": report.backend,
        "keras": report.keras,
        "gradients": report.gradients,
        "captures": [_capture(capture) for capture in report.captures],
        "notices": list(report.notices),
        "script_error": script_error_json(report.script_error),
    }
    return json.dumps(plain(content), allow_nan=False)


def _capture(capture: TracedCapture) -> Json:
    return {
        "id": capture.id,
        "call": capture.call,
        "where": place_json(capture.where),
        "model": capture.model,
        "terms": [_term(term) for term in capture.terms],
        "unseen": list(capture.unseen),
    }


def _term(term: TracedTerm) -> Json:
    return {
        "kind": term.kind,
        "name": term.name,
        "output": term.output,
        "weight": term.weight,
        "value": term.value,
        "received": [plain(card) for card in term.received],
        "functions": [_function(function) for function in term.functions],
        "notes": list(term.notes),
        "error": term.error,
    }


def _function(function: TracedFunction) -> Json:
    return {
        "name": function.name,
        "where": place_json(function.where),
        "depth": function.depth,
        "lines": [{"line": number, "text": text} for number, text in function.lines],
        "expressions": [_expression(expression) for expression in function.expressions],
    }


def _expression(expression: Expression) -> Json:
    return {
        "where": place_json(expression.place),
        "kind": expression.kind,
        "times": expression.times,
        "first": [plain(one) for one in expression.first],
        "last": [plain(one) for one in expression.last],
    }
