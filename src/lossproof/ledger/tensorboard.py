"""Accounts as TensorBoard scalars: `terms/`, `weights/`, `gradients/`.

Written by tensorboardX (the extra `lossproof[tensorboard]`): TensorBoard's own writer imports TensorFlow where it is
installed, whatever the backend.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lossproof.ledger.entry import Entry


def installed() -> bool:
    """Whether scalars can be written."""
    from importlib.util import find_spec

    return find_spec("tensorboardX") is not None


class ScalarWriter:
    """Writes event files into a folder.

    Args:
        folder: Where TensorBoard looks for the run.
        step: The first step to come; what another process wrote of it and later ones is hidden.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            with _without_torch():
                from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "Ledger(tensorboard=True) needs tensorboardX, which is not installed: "
                "`pip install 'lossproof[tensorboard]'`, or leave tensorboard out"
            ) from error
        self._writer = SummaryWriter(logdir=str(folder), purge_step=step or None)

    def write(self, entry: Entry) -> None:
        """One account."""
        for tag, value in scalars(entry):
            self._writer.add_scalar(tag, value, entry.step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def scalars(entry: Entry) -> Iterator[tuple[str, float]]:
    """The tags and values of an account."""
    for part in entry.parts:
        yield f"terms/{part.name}", part.value
        yield f"terms/contribution/{part.name}", part.contribution
        yield f"weights/{part.name}", part.weight
    yield "terms/total", entry.total
    if not entry.closes:
        yield "terms/residual", entry.residual
    if entry.learning_rate is not None:
        yield "weights/learning_rate", entry.learning_rate
    found = entry.gradients
    if found is None:
        return
    for k, part_name in enumerate(found.parts):
        yield f"gradients/norm/{part_name}", found.norm[k]
        share = found.share[k]
        if share is not None:
            yield f"gradients/share/{part_name}", share
        for group, norms in zip(found.groups, found.norms, strict=True):
            yield f"gradients/norm/{part_name}/{group}", norms[k]
        for j in range(k):
            cosine = found.cosines[k][j]
            if cosine is not None:
                yield f"gradients/cosine/{found.parts[j]}|{part_name}", cosine
    yield "gradients/undriven_weights", float(len(found.undriven))


@contextmanager
def _without_torch() -> Iterator[None]:
    """TensorboardX imports torch if it can, which costs seconds, and is of no use here, under another backend."""
    modules: dict[str, Any] = sys.modules
    if "torch" in modules:
        yield
        return
    modules["torch"] = None
    try:
        yield
    finally:
        modules.pop("torch", None)
