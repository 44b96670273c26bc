"""lossproof: a debugger for the training objectives of Keras 3 models."""

from lossproof.api import check, check_loss
from lossproof.comparing import compare
from lossproof.findings.finding import Finding, Severity
from lossproof.report.compared import Comparison
from lossproof.report.report import Report
from lossproof.report.traced import TraceReport
from lossproof.tracing import trace

__version__ = "0.1.0"

__all__ = ["Comparison", "Finding", "Report", "Severity", "TraceReport", "check", "check_loss", "compare", "trace"]
