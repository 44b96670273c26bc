"""How a trainer reads its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def epoch_data(data: dict[str, Any]) -> Iterator[Any]:
    """The batches that a step receives for the arguments of a `fit` (keras/src/trainers/epoch_iterator.py).

    Read in this process and thread, whatever workers the user's dataset asks for.
    """
    from keras.src.trainers.epoch_iterator import EpochIterator

    keys = ("x", "y", "sample_weight", "batch_size", "class_weight")
    with _without_workers(data.get("x")):
        adapter = EpochIterator(**{key: data.get(key) for key in keys}, shuffle=False).data_adapter
        backend = keras.backend.backend()
        if backend == "tensorflow":
            yield from adapter.get_tf_dataset()
        elif backend == "jax":
            yield from adapter.get_jax_iterator()
        else:
            yield from adapter.get_torch_dataloader()


@contextmanager
def _without_workers(x: Any) -> Iterator[None]:
    # The public settings of a `keras.utils.PyDataset` and of a `torch.utils.data.DataLoader`.
    settings = {"workers": 0, "use_multiprocessing": False}
    if not isinstance(x, keras.utils.PyDataset):
        settings = {"num_workers": 0, "timeout": 0} if hasattr(x, "num_workers") else {}
    before = {name: getattr(x, name) for name in settings if hasattr(x, name)}
    try:
        for name in before:
            setattr(x, name, settings[name])
        yield
    finally:
        for name, value in before.items():
            setattr(x, name, value)


def adapter_maker() -> tuple[Any, str]:
    """The function that makes the data adapter of a `fit`, as (owner, name) (keras/src/trainers/epoch_iterator.py)."""
    from keras.src.trainers import data_adapters

    return data_adapters, "get_data_adapter"


def class_weights_to_sample_weights(y: Any, class_weight: dict[int, float]) -> Any:
    """What `train_on_batch` makes of `class_weight` (keras/src/trainers/data_adapters/data_adapter_utils.py)."""
    from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

    return class_weight_to_sample_weights(y, class_weight)
