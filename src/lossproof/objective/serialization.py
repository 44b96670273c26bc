"""Terms as Keras saves them."""

from __future__ import annotations

from typing import Any

import keras

from lossproof.objective.functions import unserializable_because


def term_config(term: Any) -> dict[str, Any]:
    """What a term is made of, serializable by Keras.

    Raises:
        ValueError: its function cannot be saved, which `serializable=False` allowed until now.
    """
    because = unserializable_because(term.function.function) if not term.function.is_loss else None
    if because is not None:
        raise ValueError(
            f"Term {term.name!r} cannot be saved: its function is {because}. Save the weights alone "
            "(trainer.save_weights), or the model alone (trainer.model.save), or define the function at the top level of a "
            "module."
        )
    serialize = keras.saving.serialize_keras_object
    return {
        "function": serialize(term.function.function),
        "name": term.name,
        "output": serialize(term.output),
        "target": serialize(term.target),
        "weight": serialize(term.weight),
        "reduction": term.reduction,
        "mask": term.mask,
        "sample_weight_of": term.sample_weight_of,
        "serializable": term.serializable,
        "arguments": {name: serialize(value) for name, value in term.bindings.items()},
    }


def term_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `lp.Term` that a config describes."""
    read = keras.saving.deserialize_keras_object
    return {
        **config,
        "function": read(config["function"]),
        "output": read(config["output"]),
        "target": read(config["target"]),
        "weight": read(config["weight"]),
        "arguments": {name: read(value) for name, value in config["arguments"].items()},
    }
