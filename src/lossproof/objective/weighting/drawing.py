"""Random numbers of a strategy, whose generator is saved with the model."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

KEY = "generator"


class Drawing(keras.layers.Layer):
    """A layer with a `generator` (or None) whose state is saved and loaded with it.

    Keras carries the state of a `SeedGenerator` through compiled steps but does not save it, so that a resumed training
    would draw again what it drew at first.
    """

    generator: keras.random.SeedGenerator | None = None

    def save_own_variables(self, store: Any) -> None:
        """As Keras's, and the generator's state."""
        super().save_own_variables(store)
        if self.generator is not None:
            store[KEY] = ops.convert_to_numpy(self.generator.state)

    def load_own_variables(self, store: Any) -> None:
        """As Keras's, and the generator's state."""
        if self.generator is not None:
            self.generator.state.assign(store[KEY])
        super().load_own_variables({key: store[key] for key in store if key != KEY})
