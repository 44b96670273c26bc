"""The captured batch as the training step received it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import ROWS, Recorded, count_rows, take_rows
from lossproof.capture.record import Capture
from lossproof.lab.backends import running_backend


@dataclass(frozen=True)
class Batch:
    """Tensors of the running backend, nested as the step gets them."""

    x: Any
    y: Any
    sample_weight: Any
    passed: Any = None
    """The targets in the form in which the user passed them, before adapters and backends touch their dtype and rank;
    None where that is not known."""


class NoBatch(Exception):  # noqa: N818 - an answer, not an error
    """The data could not be read again; the text says why."""


def rows_asked(capture: Capture) -> int:
    """The rows of a batch of the script's own size, as far as they were kept; 0 where the data were no arrays."""
    return (count_rows(capture.batch["x"]) or 0) if capture.batch is not None else 0


def received_batch(capture: Capture, rows: int = ROWS) -> Batch:
    """One batch, passed through Keras's own data adapters.

    Args:
        capture: The call that was seen.
        rows: How many rows of arrays stand for a larger batch.

    Raises:
        NoBatch: Nothing is left to read (an exhausted iterator), or the adapters refuse the data.
    """
    # `lossproof.check` keeps the size that it was asked for with the rows.
    data = {"batch_size": rows, **capture.batch} if capture.batch is not None else capture.data
    try:
        if capture.call in ("train_on_batch", "test_on_batch"):
            weight = data.get("sample_weight")
            if weight is None and data.get("class_weight") is not None:
                weight = keras_private.class_weights_to_sample_weights(data["y"], data["class_weight"])
            items: Any = (data.get("x"), data.get("y"), weight)
            passed = data.get("y")
        elif isinstance(data.get("x"), Recorded):
            if not data["x"].batches:
                raise NoBatch("the generator was not asked for a batch")
            items = data["x"].batches[0]
            passed = keras.utils.unpack_x_y_sample_weight(items)[1]
        else:
            items = next(iter(keras_private.epoch_data(data)))
            # Only arrays are copied when the call is seen; what iterables yield, adapters hand on in its own dtype.
            passed = data.get("y") if capture.batch is not None else keras.utils.unpack_x_y_sample_weight(items)[1]
    except NoBatch:
        raise
    except StopIteration:
        raise NoBatch("the data ran out before the audit") from None
    except Exception as error:  # whatever the data adapters say of the user's data
        raise NoBatch(f"the data could not be read again: {type(error).__name__}: {error}") from error
    batch = as_batch(items)
    received = count_rows(batch.y) if capture.batch is not None else None
    if received is not None and passed is not None and received < (count_rows(passed) or 0):
        passed = take_rows(passed, np.arange(received))
    return replace(batch, passed=passed)


def as_batch(items: Any) -> Batch:
    """A step's `data` as tensors."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(items)
    return Batch(to_tensors(x), to_tensors(y), to_tensors(sample_weight))


def to_tensors(data: Any) -> Any:
    """Nested arrays as nested tensors; what is no array (None, strings) stays."""
    backend = running_backend()

    def convert(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, str) or backend.is_tensor(leaf):
            return leaf if backend.name != "torch" or leaf is None or isinstance(leaf, str) else _placed(leaf)
        return keras.ops.convert_to_tensor(leaf)

    return keras.tree.map_structure(convert, data) if data is not None else None


def _placed(tensor: Any) -> Any:
    return keras.ops.convert_to_tensor(tensor)
