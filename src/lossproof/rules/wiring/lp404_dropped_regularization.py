"""LP404: `self.losses` is left out of the objective, or counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import rounding
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab


class DroppedRegularization(Rule):
    """A `compute_loss` or `train_step` of the user's that forgets `self.losses`."""

    code = "LP404"
    name = "dropped-regularization"
    severity = "error"
    summary = "loses `self.losses` (regularizers, add_loss) or counts them twice"
    explanation = """
Regularizers and `add_loss` do not act by themselves: a layer only leaves them in `self.losses`, and
`Model.compute_loss` adds them to the compiled loss. A model that overrides `compute_loss`, or a `train_step` that calls
a loss itself, has to add them. If it does not, the strength of a regularizer changes nothing; if it calls
`super().compute_loss(...)` and adds `self.losses` again, they count twice.

**Proof.** Every entry of `self.losses` is multiplied by two: the total must grow by their sum. It does not move (they
are dropped), or it grows by twice their sum (they are counted twice).

**What to do.** Add `sum(self.losses)` once.
"""
    source = (
        "keras/src/trainers/trainer.py, Trainer.compute_loss",
        "https://github.com/tensorflow/tensorflow/issues/33219",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops, regularizers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")


class Autoencoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = layers.Dense(4, activation="relu", activity_regularizer=regularizers.l1(0.1))
        self.decoder = layers.Dense(6)

    def call(self, inputs):
        return self.decoder(self.encoder(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # expect: LP404
        return ops.mean(ops.square(x - y_pred))


model = Autoencoder()
model.compile(optimizer="sgd")
model.fit(x, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops, regularizers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")


class Autoencoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = layers.Dense(4, activation="relu", activity_regularizer=regularizers.l1(0.1))
        self.decoder = layers.Dense(6)

    def call(self, inputs):
        return self.decoder(self.encoder(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(x - y_pred)) + sum(self.losses)


model = Autoencoder()
model.compile(optimizer="sgd")
model.fit(x, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.added_losses import totals_with_added_losses

        if not lab.overrides_compute_loss and not lab.overrides_train_step:
            raise NotApplicable("Keras's own compute_loss adds self.losses")
        added = sum(lab.forward_losses)
        if not lab.forward_losses:
            raise NotApplicable("the model has no regularizer and no add_loss")
        plain, doubled = lab.once(totals_with_added_losses, (1.0, 2.0))
        noise = rounding("float32", max(abs(plain), abs(added)), 1024)
        if abs(added) <= 4 * noise:
            raise NotApplicable("self.losses is zero on the captured batch")
        times = (doubled - plain) / added
        spread = 2 * noise / abs(added)
        if abs(times) <= spread:
            yield self._finding(lab, 0, plain, plain + added, added, doubled)
        elif abs(times - 2.0) <= spread:
            yield self._finding(lab, 2, plain, plain - added, added, doubled)

    def _finding(self, lab: Lab, times: int, before: float, after: float, added: float, doubled: float) -> Finding:
        how = "are not part of the loss" if times == 0 else "are counted twice"
        method = "compute_loss" if lab.overrides_compute_loss else "train_step"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"regularizers and add_loss {how}",
            where=lab.place_of_method(method),
            explanation=(
                f"The layers leave {len(lab.forward_losses)} penalties in self.losses, {added:.4g} on this batch, and "
                f"this {method} {'never adds them' if times == 0 else 'adds them a second time'}. "
                f"{'Their strength has no effect on training.' if times == 0 else 'They act at twice their strength.'}"
            ),
            evidence={"self.losses": lab.forward_losses, "counted": times},
            counterfactual=Counterfactual(
                change="add self.losses once",
                before=before,
                after=after,
                columns=("as written", "counted once"),
                rows=(
                    Row(
                        "with every penalty doubled",
                        doubled,
                        after + added,
                        "the penalties do not act" if times == 0 else "moves by twice the penalties",
                    ),
                ),
            ),
            fix=Fix(
                "Add the penalties to what you return."
                if times == 0
                else "super().compute_loss(...) has added them already: leave out self.losses.",
                where=lab.place_of_method(method),
                code="return loss + sum(self.losses)" if times == 0 else None,
            ),
        )
