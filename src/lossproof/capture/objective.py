"""What a training call says of its objective: its form, the sizes of its batches, the Python values that it can read."""

from __future__ import annotations

import re
from typing import Any

import keras

from lossproof import keras_private
from lossproof.capture.batch import ROWS, count_rows, in_memory
from lossproof.capture.record import Compiled, Reassigned


def objective_signature(model: Any, compiled: Compiled | None, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """Equal for calls that train the same code on data of the same form."""

    def form(leaf: Any) -> Any:
        return (len(leaf.shape), str(leaf.dtype)) if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else type(leaf)

    def code(leaf: Any) -> Any:
        function = getattr(leaf, "func", getattr(leaf, "__func__", leaf))
        return getattr(function, "__code__", None) or (leaf if isinstance(leaf, str) else type(leaf).__qualname__)

    data = [form(leaf) for leaf in keras.tree.flatten([arguments.get(k) for k in ("y", "sample_weight")])]
    loss = compiled.arguments.get("loss") if compiled else None
    losses = [code(leaf) for leaf in keras.tree.flatten(loss)]
    weights = repr(compiled.arguments.get("loss_weights")) if compiled else ""
    structure = str(keras.tree.map_structure(lambda _: 0, arguments.get("y"))) if arguments.get("y") is not None else ""
    # Keras numbers the layers that a loop makes anew.
    outputs = tuple(re.sub(r"_\d+$", "", str(name)) for name in getattr(model, "output_names", None) or ())
    weighted = arguments.get("class_weight") is not None
    return (type(model), tuple(map(repr, losses)), weights, tuple(map(repr, data)), structure, outputs, weighted)


def batch_sizes(call: str, arguments: dict[str, Any]) -> set[int]:
    """The sizes of the batches that a call makes of arrays, those of the last partial ones included."""
    x = arguments.get("x")
    count = count_rows(x) if in_memory(x) else None
    if not count:
        return set()
    size = count if call.endswith("_on_batch") else arguments.get("batch_size") or ROWS
    held_out = count - int(count * (1.0 - (arguments.get("validation_split") or 0.0)))
    sizes: set[int] = set()
    for rows in (count - held_out, held_out):
        sizes |= ({size} if rows >= size else set()) | ({rows % size} if rows % size else set())
    return sizes


def batch_forms(call: str, arguments: dict[str, Any]) -> dict[tuple[Any, ...], int]:
    """How many steps a call makes with batches of each form; empty where the data are no arrays."""
    x, y = arguments.get("x"), arguments.get("y")
    if not in_memory(x, y):
        return {}
    leaves = [leaf for leaf in keras.tree.flatten((x, y, arguments.get("sample_weight"))) if hasattr(leaf, "shape")]
    count = count_rows((x, y)) or 0
    rest = tuple(tuple(leaf.shape[1:]) for leaf in leaves)
    if call.endswith("_on_batch"):
        return {(count, *rest): 1}
    size = arguments.get("batch_size") or ROWS
    count = int(count * (1.0 - (arguments.get("validation_split") or 0.0)))
    epochs = int(arguments.get("epochs") or 1)
    forms = {(size, *rest): epochs * (count // size), (count % size, *rest): epochs}
    return {form: steps for form, steps in forms.items() if steps and form[0]}


def roots(model: Any, compiled: Compiled | None) -> dict[str, Any]:
    """Where the objective's Python values are looked for: the losses, their weights, and the model."""
    found: dict[str, Any] = {}
    arguments = compiled.arguments if compiled is not None else keras_private.compile_arguments(model)
    for key in ("loss", "loss_weights"):
        for i, leaf in enumerate(keras.tree.flatten(arguments.get(key))):
            if leaf is not None and not isinstance(leaf, str):
                found[getattr(leaf, "__name__", getattr(leaf, "name", f"{key}[{i}]"))] = leaf
    if isinstance(arguments.get("loss_weights"), (dict, list)):
        found["loss_weights"] = arguments["loss_weights"]
    found[model.name] = model
    return found


def reassigned(model: Any) -> Reassigned | None:
    """What the script has assigned to the model's `loss` or `loss_weights` since they were compiled."""
    if keras_private.compile_loss(model) is None:
        return None
    told, own = keras_private.compile_arguments(model), vars(model)
    for name in ("loss", "loss_weights"):
        if own.get(name) is not None and not _same(own[name], told[name]):
            return Reassigned(name, told[name], own[name])
    return None


def _same(a: Any, b: Any) -> bool:
    """Whether two arguments are the same objects, whatever containers an attribute has made of those that held them."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return a is b or (isinstance(a, (str, int, float)) and isinstance(b, (str, int, float)) and a == b)
