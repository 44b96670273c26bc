"""LP411: the objective closes over a symbolic tensor of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Severity
from lossproof.lab.failure import in_words
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.symbolic import Symbol


class SymbolicCapture(Rule):
    """A loss that reads `layer.output`, or the variable in which it was kept."""

    code = "LP411"
    name = "symbolic-capture"
    severity = "error"
    summary = "closes over a symbolic tensor of the model"
    explanation = """
What a layer returns while a functional model is put together is a placeholder: it has a shape and a place in the graph,
and no value. A loss that closes over it (or reads `layer.output`) worked in Keras 2, whose losses were part of the
graph. In Keras 3 a loss is called with values, and to mix them with a placeholder raises on every backend.

**Proof.** The symbolic tensor is replaced by its value in the same forward pass, computed by
`keras.Model(model.inputs, tensor)`: the loss that raised now has a finite value.

**What to do.** Compute the term where the value exists. In a layer: `self.add_loss(...)` in `call`. Or return the
tensor as a further output of the model and give it a loss. Or override `compute_loss`.
"""
    source = (
        "keras/src/backend/common/keras_tensor.py, KerasTensor.__tf_tensor__ and __jax_array__",
        "https://github.com/keras-team/keras/issues/5563",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = x[:, :1]

inputs = keras.Input((6,))
code = layers.Dense(4, activation="tanh", name="code")(inputs)
model = keras.Model(inputs, layers.Dense(1)(code))


def sparse_mse(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1) + 0.1 * ops.mean(ops.abs(code), axis=-1)  # expect: LP411


model.compile(optimizer="sgd", loss=sparse_mse)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = x[:, :1]

inputs = keras.Input((6,))
code = layers.Dense(4, activation="tanh", name="code")(inputs)
model = keras.Model(inputs, [layers.Dense(1)(code), code])


def mse(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1) * code.shape[-1] / 4


def sparsity(_, activations):
    return 0.1 * ops.mean(ops.abs(activations), axis=-1)


model.compile(optimizer="sgd", loss=[mse, sparsity])
model.fit(x, [y, y], verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.places import place_of_failure
        from lossproof.lab.wiring.symbolic import replayed

        error = lab.capture.error
        if error is None:
            raise NotApplicable("nothing raised")
        found = lab.once(replayed)
        if found is None:
            return
        line = in_words(error)
        names = ", ".join(repr(one.name) for one in found.symbols)
        one = len(found.symbols) == 1
        where = next((one.where for one in found.symbols if one.where is not None), None) or lab.once(place_of_failure)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the objective closes over {'a symbolic tensor' if one else 'symbolic tensors'}: {names}",
            where=where,
            explanation=(
                f"{_described(found.symbols)}, and {'has' if one else 'have'} no value while the model is trained. "
                f"A loss in Keras 3 is called with values, outside of the graph, and fails with {line}."
            ),
            evidence={
                "symbols": [{"name": one.name, "layer": one.layer, "shape": list(one.shape)} for one in found.symbols],
                "explains_error": True,
            },
            counterfactual=Counterfactual(
                change=f"{names} replaced by {'its value' if one else 'their values'} in the same forward pass",
                before=line,
                after=found.total,
                columns=("as written", "with its value" if one else "with their values"),
            ),
            fix=Fix(
                "Compute this term where the value exists: in a layer that calls self.add_loss(...) in its `call`, or "
                "return the tensor as a further output and give it a loss, or override compute_loss.",
                where=where,
            ),
        )


def _described(symbols: tuple[Symbol, ...]) -> str:
    def text(one: Symbol) -> str:
        shape = f"({', '.join(map(str, one.shape))}{',' if len(one.shape) == 1 else ''})"
        return f"{one.name!r} is the symbolic output of layer {one.layer!r}, a placeholder of shape {shape}"

    return "; ".join(map(text, symbols))
