"""A comparison as JSON: versioned like the report of a check."""

from __future__ import annotations

import json

from lossproof.report.compared import Comparison
from lossproof.report.json import VERSION, plain


def to_json(comparison: Comparison) -> str:
    """`comparison` on one line of ASCII. Keys may be added within one version, none is renamed.

    `divergences` stand in the order of cause and effect; `first` is the kind of the first one, null where the runs are the
    same.
    """
    first = comparison.first
    content = {
        "version": VERSION,
        "same": comparison.same,
        "first": None if first is None else first.kind,
        "a": comparison.a,
        "b": comparison.b,
        "divergences": comparison.divergences,
        "trainings": comparison.trainings,
        "steps": comparison.steps,
        "notes": comparison.notes,
    }
    return json.dumps(plain(content), allow_nan=False)
