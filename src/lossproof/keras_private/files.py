"""How models are written to files and read from them."""

from __future__ import annotations

from typing import Any


def savers() -> list[tuple[Any, str]]:
    """The functions that write a whole model to a file: (model, filepath, ...) (saving/saving_api.py calls them)."""
    from keras.src.legacy.saving import legacy_h5_format
    from keras.src.saving import saving_lib

    return [(saving_lib, "save_model"), (legacy_h5_format, "save_model_to_hdf5")]


def loaders() -> list[tuple[Any, str]]:
    """The functions that read one: (filepath, custom_objects, compile, ...) (saving/saving_api.py calls them)."""
    from keras.src.legacy.saving import legacy_h5_format
    from keras.src.saving import saving_lib

    return [(saving_lib, "load_model"), (legacy_h5_format, "load_model_from_hdf5")]
