"""lossproof: a debugger and a toolkit for the training objectives of Keras 3 models."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from lossproof.api import check, check_loss
from lossproof.capture.importing import once_imported
from lossproof.comparing import compare
from lossproof.findings.finding import Finding, Severity
from lossproof.ledger.explain import explain
from lossproof.report.compared import Comparison
from lossproof.report.report import Report
from lossproof.report.traced import TraceReport
from lossproof.tracing import trace

if TYPE_CHECKING:
    from lossproof.ledger.ledger import Ledger
    from lossproof.objective import schedules, weighting
    from lossproof.objective.objective import Objective
    from lossproof.objective.references import input, layer, output, sample_weight, step, target  # noqa: A004
    from lossproof.objective.term import Term
    from lossproof.objective.trainer import Trainer

__version__ = "0.1.0"

# What needs Keras is imported when it is first asked for: the command line has to work, and to explain itself, without.
_LATER = {
    "Ledger": "lossproof.ledger.ledger",
    "Objective": "lossproof.objective.objective",
    "Term": "lossproof.objective.term",
    "Trainer": "lossproof.objective.trainer",
    "input": "lossproof.objective.references",
    "layer": "lossproof.objective.references",
    "output": "lossproof.objective.references",
    "sample_weight": "lossproof.objective.references",
    "schedules": "lossproof.objective.schedules",
    "step": "lossproof.objective.references",
    "target": "lossproof.objective.references",
    "weighting": "lossproof.objective.weighting",
}
_MODULES = ("schedules", "weighting")

__all__ = [
    "Comparison",
    "Finding",
    "Ledger",
    "Objective",
    "Report",
    "Severity",
    "Term",
    "TraceReport",
    "Trainer",
    "check",
    "check_loss",
    "compare",
    "explain",
    "input",
    "layer",
    "output",
    "sample_weight",
    "schedules",
    "step",
    "target",
    "trace",
    "weighting",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_LATER[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def _register() -> None:
    # What keeps our classes from being imported is said where one of them is asked for; `import keras` goes on without.
    with contextlib.suppress(Exception):
        importlib.import_module("lossproof.objective.saved")


# What `keras.saving.load_model` may meet in a file has to be registered by then. This does not import Keras itself.
once_imported("keras", _register)
