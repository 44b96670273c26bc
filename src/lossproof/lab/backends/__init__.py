"""The adapter of the running Keras backend."""

from __future__ import annotations

from functools import cache

import keras

from lossproof.lab.backends.base import Backend


@cache
def running_backend() -> Backend:
    """The adapter for `keras.backend.backend()`.

    Raises:
        NotImplementedError: For a backend that cannot train (NumPy, OpenVINO).
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        from lossproof.lab.backends.tensorflow import TensorFlowBackend

        return TensorFlowBackend()
    if name == "jax":
        from lossproof.lab.backends.jax import JaxBackend

        return JaxBackend()
    if name == "torch":
        from lossproof.lab.backends.torch import TorchBackend

        return TorchBackend()
    raise NotImplementedError(f"lossproof needs the tensorflow, jax or torch backend of Keras, found {name!r}")
