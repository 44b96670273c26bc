"""`lossproof.explain`: where every digit of a loss comes from, on one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossproof.ledger.explanation import Explanation

MOST_ROWS = 8192
"""Of arrays that are taken as one batch: larger ones hardly fit into one forward pass."""


def explain(
    model: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    class_weight: dict[int, float] | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Account for the loss of a compiled model on one batch: a table that adds up to the number that Keras reports.

    The batch goes through Keras's own data adapters and the model's own `compute_loss` (or `train_step`), in training
    mode; what Keras reports is what its steps report. Nothing is left changed: weights, optimizer, metrics and random
    generators are bit for bit as before. A model that was not built yet is built on the data, as `fit` would do.

    Arrays are taken as one batch, as `train_on_batch` would; with `batch_size`, the first rows are. Of an iterable
    (`tf.data`, `PyDataset`, `DataLoader`, generator) it is the first batch; from a generator it is taken away. To say
    what the bar of `fit` shows, an epoch over the same data is rehearsed and put back, unless they are a generator.

    Args:
        model: A compiled `keras.Model` or `lossproof.Trainer`.
        x: Inputs, as for `model.fit`: arrays (nested as the model takes them), or an iterable of batches.
        y: Targets, as for `model.fit`.
        sample_weight: Shape (N,), or as for `model.fit`.
        class_weight: As for `model.fit`.
        batch_size: Rows of the batch, and of those of the rehearsed epoch (32 there by default, as in `fit`).

    Returns:
        An `Explanation`: shows itself in a terminal (`print`) and a notebook, `.to_dict()`, `.to_pandas()`.

    Raises:
        TypeError: `model` is no Keras model, or `batch_size` no whole number.
        ValueError: `model` is not compiled, the data cannot be read, or the objective cannot be evaluated on them.
    """
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(
            f"expected a keras.Model, found {type(model).__name__}: pass the model that you compiled "
            "(`lossproof explain LP101` on the command line explains a rule)"
        )
    if not model.compiled:
        raise ValueError(f"the model {model.name!r} is not compiled: call model.compile(loss=...) before explain")
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise TypeError(f"batch_size must be a whole number of rows, 1 or more, found {batch_size!r}")
    data = {
        "x": x,
        "y": y,
        "sample_weight": sample_weight,
        "class_weight": class_weight,
        "batch_size": batch_size,
    }
    from lossproof.ledger.examination import examine

    return examine(model, data)
