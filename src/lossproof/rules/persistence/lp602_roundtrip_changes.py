"""LP602: the objective is another one after its model was saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.persistence.roundtrip import ChangedByFile


class RoundtripChanges(Rule):
    """A loss, layer or regularizer that forgets its arguments in a file."""

    code = "LP602"
    name = "roundtrip-changes"
    severity = "error / note"
    summary = "is another objective after save and load"
    explanation = """
A loss goes into a saved model as what `get_config` returns, and comes out as `from_config` builds it. An argument that is
not in the configuration comes back with its default value: the model loads, trains on, and minimises another loss. Some
losses of Keras itself do so, and so do layers that add a loss, and regularizers. Nothing raises.

**Proof.** The model is saved and loaded in a temporary folder. On the same weights, batch and predictions the two
objectives differ; with the attributes that changed put back on what was loaded they agree again. It is an error where the
script goes on with the loaded objective, and a note where it only saves it.

**What to do.** Return every argument of `__init__` in `get_config`, or compile anew after loading.
"""
    source = (
        "keras/src/losses/losses.py, get_config of Huber, CosineSimilarity and SparseCategoricalCrossentropy",
        "https://keras.io/guides/serialization_and_saving/",
    )
    yields_to = ("LP601",)
    guilty = """
import os
import tempfile

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x[:, :1]


@keras.saving.register_keras_serializable(package="prices")
class Pinball(keras.losses.Loss):  # expect: LP602
    def __init__(self, tau=0.5, name="pinball", **kwargs):
        super().__init__(name=name, **kwargs)
        self.tau = tau

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        return ops.mean(ops.maximum(self.tau * error, (self.tau - 1) * error), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=Pinball(0.9))
model.fit(x, y, verbose=0)
path = os.path.join(tempfile.mkdtemp(), "model.keras")
model.save(path)
restored = keras.models.load_model(path)
restored.fit(x, y, verbose=0)
"""
    innocent = guilty.replace("  # expect: LP602", "").replace(
        "\n\nmodel =",
        '\n    def get_config(self):\n        return {**super().get_config(), "tau": self.tau}\n\n\nmodel =',
    )

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.persistence.roundtrip import changed_by_file

        if lab.capture.model is None:
            raise NotApplicable("there is no model, only a loss")
        found = lab.once(changed_by_file)
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: ChangedByFile) -> Finding:
        lost = ", ".join(f"{name} {before!r} becomes {after!r}" for name, before, after in found.attributes)
        names = ", ".join(name for name, *_ in found.attributes)
        at = f" at line {found.called.line}" if found.called is not None else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if found.loaded else Severity.NOTE,
            title=f"{found.name} is another {found.part} after save and load: {lost}",
            where=found.where or found.called or lab.capture.where,
            measured="1 round trip through a file, 1 batch",
            explanation=(
                f"On the same weights and batch the objective is {found.before:.4g}, and {found.after:.4g} once the model "
                f"was saved and loaded ({'loaded' if found.loaded else 'saved'}{at}). {names} is not in the configuration "
                f"of the {found.part}, so the loaded one has the default. Nothing raises."
            ),
            evidence={
                "attributes": [{"name": n, "saved": before, "loaded": after} for n, before, after in found.attributes],
                "loaded_by_script": found.loaded,
            },
            counterfactual=Counterfactual(
                change=f"{names} put back on the loaded {found.part}",
                before=found.after,
                after=found.restored,
                columns=("as loaded", "put back"),
                rows=(Row("objective before it was saved", found.before, found.before),),
            ),
            fix=Fix(
                "Return every argument of __init__ in get_config, or call compile again after loading.",
                code=f'return {{**super().get_config(), "{found.attributes[0][0]}": self.{found.attributes[0][0]}}}',
            ),
        )
