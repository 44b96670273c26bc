"""Backend functions behind `keras.ops`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras


def backend_core() -> Any:
    """The module of the running backend's tensor operations, such as `stop_gradient` (backend/<name>/core.py)."""
    return importlib.import_module(f"keras.src.backend.{keras.backend.backend()}.core")


def stack(values: Sequence[Any]) -> Any:
    """`ops.stack` of tensors, without its search for symbolic ones, the dearest part of it (backend/<name>/numpy.py)."""
    from keras.src import backend

    return backend.numpy.stack(values)


@contextmanager
def logits_hidden() -> Iterator[None]:
    """Inside, losses on TensorFlow take predictions as they are, however they were made (backend/tensorflow/nn.py).

    Otherwise a cross-entropy looks for the logits behind a softmax or sigmoid, and uses a fused operation on them.
    """
    from keras.src.backend.tensorflow import nn

    original = nn._get_logits
    nn._get_logits = lambda output, from_logits, *_: (output, from_logits)
    try:
        yield
    finally:
        nn._get_logits = original
