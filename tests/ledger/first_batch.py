"""The first batch that a `fit` takes of its data, whatever they are."""

from __future__ import annotations

from typing import Any


def first_batch(given: dict[str, Any]) -> dict[str, Any]:
    """The first batch that a `fit` takes, as arguments of `explain`; of a generator, which is then put back."""
    import itertools

    import keras
    import numpy as np

    from lossproof.capture.batch import count_rows, in_memory, take_rows

    x, y = given.get("x"), given.get("y")
    if in_memory(x, y):
        count = int((count_rows((x, y)) or 0) * (1.0 - (given.get("validation_split") or 0.0)))
        rows = np.arange(min(count, given.get("batch_size") or 32))
        batch = {key: take_rows(given.get(key), rows) for key in ("x", "y", "sample_weight")}
    else:
        if isinstance(x, keras.utils.PyDataset):
            items = x[0]
        elif hasattr(x, "__next__"):
            items = next(x)
            given["x"] = (one for one in itertools.chain([items], x))
        else:
            items = next(iter(x))
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(items)
        array = lambda leaf: None if leaf is None else np.asarray(leaf)  # noqa: E731
        batch = {
            key: keras.tree.map_structure(array, value)
            for key, value in (("x", x), ("y", y), ("sample_weight", sample_weight))
        }
    return {**batch, "class_weight": given.get("class_weight")}


def as_tensors(data: Any) -> Any:
    """As Keras's data adapters hand over arrays; `train_on_batch` on torch hands them over as they are."""
    import keras
    import numpy as np

    def convert(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return keras.ops.convert_to_tensor(array, keras.config.floatx() if array.dtype.kind == "f" else None)

    return None if data is None else keras.tree.map_structure(convert, data)
