"""LP410: layers that never run in training mode, though the model is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.training_flag import Inactive


class TrainingFlag(Rule):
    """`self(x)` or `training=False` in a custom step; a `call` that does not hand `training` on."""

    code = "LP410"
    name = "training-flag"
    severity = "error"
    summary = "runs the model, or a layer in it, in the wrong mode"
    explanation = """
Dropout, BatchNormalization, noise and augmentation layers act only in training mode, and inference is the default. A
custom step that calls `self(x)` or `self(x, training=False)`, and a `call` that does not take `training`, leave them in
inference mode during training: Dropout drops nothing, BatchNormalization normalises by statistics that are never updated.
On TensorFlow and PyTorch Keras hands the flag from a model's `call` to the layers inside by itself; on JAX it does not,
so that each `call` has to pass it on. Nothing raises.

A layer that is called with `training=False` inside the model (a frozen base) is left alone: that is how it is meant.

**Proof.** The step is run on the batch, and the mode of each layer noted. Then the model is run with the flag handed to
every layer that is not told otherwise: a layer acts there and never in the step, and its output depends on its mode.

**What to do.** `self(x, training=True)` in a step; `def call(self, x, training=None)` in a model, and
`self.dropout(x, training=training)` in it.
"""
    source = (
        "keras/src/layers/layer.py, Layer.__call__, `Infer training value`",
        "keras/src/backend/jax/trainer.py, JAXTrainer.compute_loss_and_updates",
        "https://github.com/keras-team/keras-hub/issues/1500",
    )
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 8)).astype("float32")
y = x[:, :1] - x[:, 1:2]


class Regressor(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(16, activation="relu")
        self.dropout = layers.Dropout(0.5)
        self.out = layers.Dense(1)

    def call(self, inputs):  # expect: LP410
        return self.out(self.dropout(self.hidden(inputs)))


model = Regressor()
model.compile(optimizer="sgd", loss="mse")
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 8)).astype("float32")
y = x[:, :1] - x[:, 1:2]


class Regressor(keras.Model):
    def __init__(self):
        super().__init__()
        self.base = keras.Sequential([layers.Dense(8), layers.BatchNormalization()])
        self.hidden = layers.Dense(16, activation="relu")
        self.dropout = layers.Dropout(0.5)
        self.out = layers.Dense(1)

    def call(self, inputs, training=None):
        features = self.base(inputs, training=False)
        return self.out(self.dropout(self.hidden(features), training=training))


model = Regressor()
model.compile(optimizer="sgd", loss="mse")
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.training_flag import inactive, sensitive

        if lab.capture.model is None or not lab.capture.training or lab.capture.error is not None:
            raise NotApplicable("no model was trained")
        if not sensitive(lab.model.model):
            raise NotApplicable("no layer of the model has a training mode")
        found = lab.attempt(lambda: lab.once(inactive))
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: Inactive) -> Finding:
        names = ", ".join(found.layers[:3]) + (f" and {len(found.layers) - 3} more" if len(found.layers) > 3 else "")
        one = len(found.layers) == 1
        own_step = found.within == "train_step"
        cause = f"{found.within} does not hand the training flag on"
        if own_step:
            cause = "train_step calls the model without training=True"
        rows: tuple[Row, ...] = ()
        if found.before is not None and found.after is not None:
            rows = (Row("objective on this batch", found.before, found.after),)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{names} never {'runs' if one else 'run'} in training mode",
            where=found.where,
            explanation=(
                f"{cause}, so that {names} {'works' if one else 'work'} in inference mode in every training step: what "
                f"{'it does' if one else 'they do'} for training has no effect. Nothing raises."
            ),
            evidence={"layers": list(found.layers), "change of the output": found.change},
            counterfactual=Counterfactual(
                change="training=True for every layer that is not told otherwise",
                before=0.0,
                after=found.change,
                label=f"what the mode changes in {found.layers[0]}",
                columns=("as written", "flag handed on"),
                rows=rows,
            ),
            fix=Fix(
                "Call the model with training=True in the step."
                if own_step
                else "Take `training=None` in call, and pass `training=training` to each layer that has a mode.",
                where=found.where,
                code="y_pred = self(x, training=True)" if own_step else "def call(self, inputs, training=None):",
            ),
        )
