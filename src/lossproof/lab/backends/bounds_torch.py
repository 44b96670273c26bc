"""What a GPU does not refuse in a way that a program survives, refused beforehand.

A CUDA kernel that is given an index or a probability out of its range ends the whole process's use of the GPU («device-side
assert triggered»): every later operation fails with the same error. On the CPU the same call raises and no more comes of
it. Experiments go where a script does not, so they ask first; the errors are those of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Check = Callable[..., None]


def _probabilities(output: torch.Tensor, target: torch.Tensor, *_: Any) -> None:
    for what, values in (("input", output), ("target", target)):
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise RuntimeError(f"all elements of {what} should be between 0 and 1")


def _classes(scores: torch.Tensor, target: torch.Tensor, _weight: Any, _reduction: int, ignored: int, *_: Any) -> None:
    classes = scores.shape[1] if scores.ndim > 1 else scores.shape[0]
    if not bool(((target == ignored) | ((target >= 0) & (target < classes))).all()):
        raise IndexError("Target is out of bounds.")


def _along(values: torch.Tensor, axis: int, index: torch.Tensor, *_: Any) -> None:
    _within(index, values.shape[axis] if values.ndim else 1, False)


def _taken(values: torch.Tensor, index: torch.Tensor, *_: Any) -> None:
    _within(index, values.numel(), True)


def _looked_up(table: torch.Tensor, index: torch.Tensor, *_: Any) -> None:
    _within(index, table.shape[0], False)


def _indexed(values: torch.Tensor, indices: Any, *_: Any) -> None:
    axis = 0
    for index in indices:
        if index is None:
            axis += 1
        elif index.dtype in (torch.bool, torch.uint8):  # a mask is as large as what it masks, or refused by its shape
            axis += index.ndim
        else:
            _within(index, values.shape[axis], True)
            axis += 1


def _drawn(probabilities: torch.Tensor, *_: Any) -> None:
    if not bool((torch.isfinite(probabilities) & (probabilities >= 0)).all()):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")


def _within(index: torch.Tensor, size: int, negative: bool) -> None:
    if not bool(((index >= (-size if negative else 0)) & (index < size)).all()):
        raise IndexError(f"index out of range: expected one below {size}, found {index.min()} to {index.max()}")


CHECKS: dict[str, Check] = {
    "aten::binary_cross_entropy": _probabilities,
    "aten::nll_loss_forward": _classes,
    "aten::nll_loss2d_forward": _classes,
    "aten::gather": _along,
    "aten::scatter": _along,
    "aten::scatter_": _along,
    "aten::scatter_add": _along,
    "aten::scatter_add_": _along,
    "aten::index_select": _along,
    "aten::index_add": _along,
    "aten::take": _taken,
    "aten::embedding": _looked_up,
    "aten::index.Tensor": _indexed,
    "aten::index_put": _indexed,
    "aten::index_put_": _indexed,
    "aten::multinomial": _drawn,
}
"""By the name of the operation, with its overload where the others of that name index nothing."""


class Refusing(TorchDispatchMode):
    """A mode in which operations raise what they would raise on the CPU, before a GPU gets them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        check = CHECKS.get(func.name()) or CHECKS.get(func.name().partition(".")[0])
        if check is not None:
            check(*args)
        return func(*args, **(kwargs or {}))
