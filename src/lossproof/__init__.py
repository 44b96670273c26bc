"""lossproof: a debugger for the training objectives of Keras 3 models."""

from typing import TYPE_CHECKING, Any

from lossproof.api import check, check_loss
from lossproof.findings.finding import Finding, Severity
from lossproof.ledger.explain import explain
from lossproof.report.report import Report

if TYPE_CHECKING:
    from lossproof.ledger.ledger import Ledger

__version__ = "0.1.0"

__all__ = ["Finding", "Ledger", "Report", "Severity", "check", "check_loss", "explain"]

_LAZY = {"Ledger": "lossproof.ledger.ledger"}
"""What is made of classes of Keras, and with what; imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
