"""LP601: the file of a model cannot be written or read because of its objective."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.failure import in_words
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.persistence.files import Unloadable


class NotSerializable(Rule):
    """A loss that is not found again when its model is loaded."""

    code = "LP601"
    name = "not-serializable"
    severity = "error"
    summary = "cannot be saved or loaded with its model"
    explanation = """
A saved model keeps its losses and metrics as a configuration: for a function its name, for an object the name of its class
and what `get_config` returns. Saving works. Loading looks the name up among what is registered and what
`custom_objects` holds, and raises if it is not there. The inner function of another one (a closure) has the inner name,
and what it closes over is not in the file. A lambda is refused. A `Loss` with arguments and without `get_config` is
found and cannot be built.

**Proof.** The model is saved and loaded again in a temporary folder, as the script does it: the same exception. Without
its objective (`compile=False`) the same file loads, and the loss alone fails on the way through its configuration.
If names help, the file is loaded with them and the loaded objective is evaluated on the captured batch.

**What to do.** A `keras.losses.Loss` subclass with `get_config`, registered by
`@keras.saving.register_keras_serializable()`. For inference alone, `load_model(path, compile=False)`.
"""
    source = (
        "keras/src/saving/serialization_lib.py, _retrieve_class_or_fn",
        "https://keras.io/guides/serialization_and_saving/",
        "https://github.com/keras-team/keras/issues/7993",
    )
    guilty = """
import os
import tempfile

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x[:, :1]


def pinball(tau):
    def loss(y_true, y_pred):  # expect: LP601
        error = y_true - y_pred
        return ops.mean(ops.maximum(tau * error, (tau - 1) * error), axis=-1)

    return loss


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=pinball(0.9))
model.fit(x, y, verbose=0)
path = os.path.join(tempfile.mkdtemp(), "model.keras")
model.save(path)
restored = keras.models.load_model(path)
"""
    innocent = """
import os
import tempfile

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x[:, :1]


@keras.saving.register_keras_serializable(package="prices")
class Pinball(keras.losses.Loss):
    def __init__(self, tau, name="pinball", **kwargs):
        super().__init__(name=name, **kwargs)
        self.tau = tau

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        return ops.mean(ops.maximum(self.tau * error, (self.tau - 1) * error), axis=-1)

    def get_config(self):
        return {**super().get_config(), "tau": self.tau}


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=Pinball(0.9))
model.fit(x, y, verbose=0)
path = os.path.join(tempfile.mkdtemp(), "model.keras")
model.save(path)
restored = keras.models.load_model(path)
restored.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.persistence.files import unloadable

        if lab.capture.model is None:
            raise NotApplicable("there is no model, only a loss")
        found = lab.once(unloadable)
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: Unloadable) -> Finding:
        line = in_words(found.error)
        told = f"custom_objects={{{', '.join(f'{name!r}: ...' for name in found.objects)}}}" if found.objects else None
        verb = "saved" if found.call == "save" else "loaded"
        compared = found.before is not None and found.after is not None
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the model cannot be {verb} with its objective: {found.name} is in the way",
            where=found.where or found.called or lab.capture.where,
            measured="1 round trip through a file",
            explanation=" ".join(self._sentences(found, line)),
            evidence={"kind": found.kind, "objects": list(found.objects), "explains_error": True},
            counterfactual=Counterfactual(
                change=told or ("save without the objective" if found.call == "save" else "compile=False"),
                before=line,
                after=verb,
                label=found.call,
                columns=("as written", told or "without it"),
                rows=(Row("loss on this batch, saved and loaded", found.before, found.after),) if compared else (),
            ),
            fix=Fix(
                "Write it as a keras.losses.Loss subclass whose get_config returns its arguments, and register it."
                if found.kind in ("closure", "lambda", "arguments")
                else "Register it, in the module that the loading script imports.",
                code="@keras.saving.register_keras_serializable()",
            ),
        )

    def _sentences(self, found: Unloadable, line: str) -> Iterator[str]:
        at = f"line {found.called.line}" if found.called is not None else "another line"
        yield f"{'model.save' if found.call == 'save' else 'load_model'} at {at} raises {line}."
        yield {
            "closure": f"{found.name} is an inner function: the file keeps its name, not what it closes over, and "
            "nothing registers it.",
            "lambda": "A lambda has no name under which it could be found again.",
            "function": f"{found.name} is kept by its name, and is not registered.",
            "class": f"{found.name} is kept by its class name and configuration, and is not registered.",
            "arguments": f"The configuration of {found.name} does not suffice to build it again.",
        }[found.kind]
        yield "Without its objective the same model makes the way through a file."
