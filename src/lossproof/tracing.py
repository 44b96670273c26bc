"""The trace as a whole: a script, or a loss and its tensors, in; a `TraceReport` out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossproof.pipeline import NOTHING_SEEN, script_error_of, watched_script, without_keras
from lossproof.report.traced import TracedCapture, TraceReport
from lossproof.silence import silence

if TYPE_CHECKING:
    from lossproof.capture.record import Run


def trace_script(
    path: Path, arguments: Sequence[str] = (), *, full: bool = False, gradients: bool = False
) -> TraceReport:
    """Run a script or notebook as Python would, and trace the losses that it trains.

    Args:
        path: The script (`.py`) or notebook (`.ipynb`).
        arguments: Its `sys.argv[1:]`.
        full: Leave training alone instead of cutting each call to a few steps.
        gradients: Also take the gradient of each loss for its expressions.

    Raises:
        Misuse: There is no such script, or no usable Keras.
    """
    with watched_script(path, arguments, full=full) as (watch, outcome):
        if watch is None:
            failed = without_keras(path, outcome)
            return TraceReport(str(path), "none", "none", gradients, script_error=failed.script_error)
        from lossproof.capture.loose import loose_captures, what_loops_hid

        run = watch.run
        hidden = what_loops_hid(run)
        run.captures += list(loose_captures(run))
        notices = [*outcome.notices, *run.unseen, *hidden, *([] if run.captures else [NOTHING_SEEN])]
        shortened = any(capture.shortened for capture in run.captures)
        return _report(
            str(path), run, gradients, script_error=script_error_of(outcome, shortened), notices=tuple(notices)
        )


def trace(fn: Any, y_true: Any, y_pred: Any, sample_weight: Any = None, *, gradients: bool = False) -> TraceReport:
    """Show each expression of a loss with its shape, dtype and range on targets and predictions, without a model.

    Args:
        fn: A loss as `compile` takes it: a function of `(y_true, y_pred)`, a `keras.losses.Loss`, or a built-in's name.
        y_true: Targets, shape (batch, ...).
        y_pred: Predictions, shape (batch, ...).
        sample_weight: Shape (batch,) or as Keras takes it.
        gradients: Also the gradient of the reduced loss for each expression.

    Returns:
        A `TraceReport`, which prints itself in a terminal and a notebook; `.to_json()` gives it as data.

    Raises:
        TypeError: `fn` is no loss.
        ValueError: `y_true` and `y_pred` have different numbers of rows.
    """
    from lossproof.capture.direct import captured_loss

    return _report(None, captured_loss(fn, y_true, y_pred, sample_weight), gradients)


def _report(script: str | None, run: Run, gradients: bool, **fields: Any) -> TraceReport:
    import keras

    from lossproof.audit import worth_auditing
    from lossproof.lab.annotated import traced_capture
    from lossproof.lab.lab import Lab

    captures: list[TracedCapture] = []
    seen = set()
    with silence():
        for capture in worth_auditing(run):
            if capture.signature and capture.signature in seen:  # the same objective, of a further model
                continue
            seen.add(capture.signature)
            with capture.as_it_was():
                captures.append(traced_capture(Lab(capture, run), gradients))
    return TraceReport(script, keras.backend.backend(), keras.__version__, gradients, tuple(captures), **fields)
