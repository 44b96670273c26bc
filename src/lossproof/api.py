"""The check from Python: `lossproof.check` and `lossproof.check_loss`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossproof.report.report import Report


def check(
    model: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    class_weight: dict[int, float] | None = None,
    batch_size: int | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Report:
    """Check the objective of a compiled model on some data, without training it. The model is left as it is.

    The first step of a `fit` is rehearsed, evaluated and traced as the backend would: what it would raise stands in the
    report's `script_error`, with the rule that explains it. What only a run shows (values that callbacks change, metrics
    from epoch to epoch, files) needs `lossproof check SCRIPT`.

    Args:
        model: A compiled `keras.Model`. It is built on the data if it was not yet.
        x: Inputs, as for `model.fit`: arrays (nested as the model takes them), or an iterable of batches.
        y: Targets, as for `model.fit`.
        sample_weight: Shape (N,), or as for `model.fit`.
        class_weight: As for `model.fit`.
        batch_size: Rows of the batch on which the objective is evaluated, 32 by default.
        select: Codes of rules (or their beginnings) to apply; all by default.
        ignore: Codes of rules to leave out.

    Returns:
        A `Report`; `report.raise_for_findings()` turns it into an assertion.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: `model` is not compiled, or a code is unknown.
    """
    import keras

    from lossproof.capture.direct import captured_model
    from lossproof.pipeline import judge

    if not isinstance(model, keras.Model):
        raise TypeError(f"expected a keras.Model, found {type(model).__name__}: pass the model that you compiled")
    if not model.compiled:
        raise ValueError(f"the model {model.name!r} is not compiled: call model.compile(loss=...) before the check")
    data = {
        "x": x,
        "y": y,
        "sample_weight": sample_weight,
        "class_weight": class_weight,
        "batch_size": batch_size,
    }
    return judge(captured_model(model, data), select=select, ignore=ignore)


def check_loss(
    fn: Any,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Report:
    """Check a loss on targets and predictions, without a model.

    Args:
        fn: A loss as `compile` takes it: a function of `(y_true, y_pred)`, a `keras.losses.Loss`, or a built-in's name.
        y_true: Targets, shape (batch, ...).
        y_pred: Predictions, shape (batch, ...).
        sample_weight: Shape (batch,) or as Keras takes it.
        select: Codes of rules (or their beginnings) to apply; all by default.
        ignore: Codes of rules to leave out.

    Raises:
        TypeError: `fn` is no loss.
        ValueError: `y_true` and `y_pred` have different numbers of rows, or a code is unknown.
    """
    from lossproof.capture.direct import captured_loss
    from lossproof.pipeline import judge

    return judge(captured_loss(fn, y_true, y_pred, sample_weight), select=select, ignore=ignore)
