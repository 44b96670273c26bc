"""The report as JSON: stable, versioned, strict."""

from __future__ import annotations

import enum
import json
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TypeAlias

from lossproof.findings.finding import Finding, Place
from lossproof.report.report import CaptureCard, Report, ScriptError, TensorCard, TermCard
from lossproof.report.wording import fix_text

VERSION = 1

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

# Deeper nesting than this is taken for a cycle, more elements for data that does not belong in a report.
_DEEPEST = 20
_MOST_ELEMENTS = 10_000
_LONGEST_REPR = 500


def to_json(report: Report) -> str:
    """`report` on one line of ASCII, starting with `{"version": 1`.

    JSON has no NaN and no infinities: such numbers are the strings "NaN", "Infinity" and "-Infinity". In a place,
    `line` counts from 1 and columns from 0, in characters, with `end_column` exclusive; `cell` is there only for
    notebooks, where `line` counts within the cell, and `scope` only within a function. `fix` is the whole advice: its
    place, its sentence and, after a newline, its line of code. Shapes are lists with null for an unknown size. What
    evidence holds beyond JSON's own types is converted as `plain` says. Keys may be added within one version, none is
    renamed.
    """
    content: dict[str, Json] = {
        "version": VERSION,
        "script": report.script,
        "backend": report.backend,
        "keras": report.keras,
        "captures": [_capture(card) for card in report.captures],
        "findings": [_finding(finding) for finding in report.findings],
        "allowed": [_finding(finding) for finding in report.allowed],
        "rules": {
            "checked": list(report.checked),
            "skipped": dict(report.skipped),
            "crashed": dict(report.crashed),
        },
        "notices": list(report.notices),
        "script_error": script_error_json(report.script_error),
    }
    return json.dumps(plain(content), allow_nan=False)


def place_json(where: Place | None) -> Json:
    """A place; `cell` and `scope` only where there are any."""
    if where is None:
        return None
    content: dict[str, Json] = {
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "end_column": where.end_column,
        "expression": where.expression,
    }
    if where.scope is not None:
        content["scope"] = where.scope
    if where.cell is not None:
        content["cell"] = where.cell
    return content


def _tensor(tensor: TensorCard) -> Json:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "low": tensor.low,
        "high": tensor.high,
    }


def _term(term: TermCard) -> Json:
    return {
        "name": term.name,
        "output": term.output,
        "loss": term.loss,
        "targets": [_tensor(tensor) for tensor in term.targets],
        "predictions": [_tensor(tensor) for tensor in term.predictions],
        "weight": term.weight,
        "sample_weight": None if term.sample_weight is None else _tensor(term.sample_weight),
        "value": term.value,
    }


def _capture(card: CaptureCard) -> Json:
    return {
        "id": card.id,
        "call": card.call,
        "where": place_json(card.where),
        "model": card.model,
        "terms": [_term(term) for term in card.terms],
        "regularization": card.regularization,
        "total": card.total,
        "weights_with_gradient": card.weights_with_gradient,
        "weights_trainable": card.weights_trainable,
        "weights_without_gradient": list(card.weights_without_gradient),
        "steps": card.steps,
        "shortened": card.shortened,
        "unseen": list(card.unseen),
    }


def _finding(finding: Finding) -> Json:
    proof = finding.counterfactual
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "capture": finding.capture,
        "title": finding.title,
        "explanation": finding.explanation,
        "measured": finding.measured,
        "where": place_json(finding.where),
        "evidence": plain(finding.evidence),
        "counterfactual": {
            "change": proof.change,
            "before": proof.before,
            "after": proof.after,
            "label": proof.label,
            "columns": list(proof.columns),
            "rows": [
                {"label": row.label, "before": row.before, "after": row.after, "remark": row.remark}
                for row in proof.rows
            ],
        },
        "fix": fix_text(finding.fix),
        "patch": finding.patch,
    }


def script_error_json(error: ScriptError | None) -> Json:
    """What ended the script."""
    if error is None:
        return None
    return {
        "type": error.type,
        "message": error.message,
        "traceback": error.traceback,
        "where": place_json(error.where),
        "explained_by": error.explained_by,
        "after_shortening": error.after_shortening,
    }


def plain(value: object, depth: int = 0) -> Json:
    """`value` in JSON's own types, whatever it is.

    Numbers of any library become int or float, non-finite ones the strings "NaN", "Infinity", "-Infinity"; arrays and
    eager tensors become nested lists; enumerations their values; dataclasses and mappings objects with string keys;
    sets sorted lists. Anything else, and what is nested too deep or has too many elements, becomes its shortened
    `repr`. Never raises.
    """
    try:
        return _plain(value, depth)
    except Exception:  #  whatever an object in the evidence does, the report must be written
        return _described(value)


def _plain(value: object, depth: int) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _real(float(value))
    if depth > _DEEPEST:
        return _described(value)
    if isinstance(value, Mapping):
        return {str(plain(k, depth + 1)): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return _list(sorted(value, key=repr), depth)
    if isinstance(value, (list, tuple)):
        return _list(value, depth)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), depth + 1) for f in fields(value)}
    return _array(value, depth)


def _list(values: Iterable[object], depth: int) -> Json:
    items = list(values)
    return [plain(v, depth + 1) for v in items] if len(items) <= _MOST_ELEMENTS else _described(values)


def _real(value: float) -> Json:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _array(value: object, depth: int) -> Json:
    """Arrays and scalars of NumPy, JAX, PyTorch and TensorFlow, told by their methods so that none is imported."""
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(value, type) and math.prod(shape) <= _MOST_ELEMENTS:
        for method in ("tolist", "numpy", "item"):
            convert = getattr(value, method, None)
            if callable(convert):
                converted = convert()
                if type(converted) is not type(value):
                    return plain(converted, depth + 1)
        return _real(float(value))  # type: ignore[arg-type]  # a scalar that converts to its own type
    return _described(value)


def _described(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  #  as above
        text = f"<{type(value).__name__} without repr>"
    return text if len(text) <= _LONGEST_REPR else f"{text[: _LONGEST_REPR - 3]}..."
