"""Masks that Keras keeps for tensors."""

from __future__ import annotations

from typing import Any


def mask_of(tensor: Any) -> Any:
    """The mask that Keras keeps on a tensor or, of a tracer of JAX, beside it; None where there is none."""
    from keras.src.backend.common.masking import get_keras_mask

    return get_keras_mask(tensor)


def set_mask(tensor: Any, mask: Any) -> None:
    """Give a tensor the mask of another."""
    from keras.src.backend.common.masking import set_keras_mask

    if mask is not None:
        set_keras_mask(tensor, mask)
