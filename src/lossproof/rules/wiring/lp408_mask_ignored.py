"""LP408: positions that a mask hides count in the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.masks import Ignored


class MaskIgnored(Rule):
    """A mask that was asked for and does not reach the loss."""

    code = "LP408"
    name = "mask-ignored"
    severity = "error"
    summary = "counts padded positions"
    explanation = """
`Embedding(mask_zero=True)` and `Masking` put a mask on their output. It travels from layer to layer as an attribute of the
tensor, and a loss that gets predictions with a mask leaves the hidden positions out. A layer that does not know masks
(Conv1D, a layer of your own without `supports_masking`) drops it, with a warning at most, and plain arithmetic in `call`
drops it without one. A loss that returns one number, and a `compute_loss` that does not go through a Keras loss, do not
apply it. The padding then counts: it is easy to predict, so the loss looks small and training serves it first.

**Proof.** The predictions at the positions that the mask hides, where the targets are padding, are replaced by others: the
loss moves. With the mask on the predictions, or on the shown positions alone, it does not.

**What to do.** Give the padding weight 0, `sample_weight=(x != 0)`, or carry the mask to the loss.
"""
    source = (
        "keras/src/losses/loss.py, Loss.__call__ and apply_mask",
        "https://github.com/keras-team/keras/issues/9311",
    )
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
words = rng.integers(1, 20, size=(32, 10))
words[np.arange(10) >= rng.integers(3, 8, size=(32, 1))] = 0
labels = np.where(words > 0, words % 3, 0)


class Tagger(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed = layers.Embedding(20, 4, mask_zero=True)
        self.head = layers.Dense(3, activation="softmax")

    def call(self, inputs):
        return self.head(2.0 * self.embed(inputs))


model = Tagger()
model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
model.fit(words, labels, verbose=0)  # expect: LP408
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
words = rng.integers(1, 20, size=(32, 10))
words[np.arange(10) >= rng.integers(3, 8, size=(32, 1))] = 0
labels = np.where(words > 0, words % 3, 0)


class Tagger(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed = layers.Embedding(20, 4, mask_zero=True)
        self.head = layers.Dense(3, activation="softmax")

    def call(self, inputs):
        return self.head(self.embed(inputs))


model = Tagger()
model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
model.fit(words, labels, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.masks import ignored_mask

        if lab.capture.model is None:
            raise NotApplicable("there is no model to make a mask")
        if not lab.losses and lab.objective is None:
            raise NotApplicable("no loss receives predictions")
        one = lab.once(ignored_mask)
        if one is not None:
            yield self._finding(lab, one)

    def _finding(self, lab: Lab, one: Ignored) -> Finding:
        name = one.subject.name
        if one.kept:
            why = f"The predictions still have it, and {name} does not apply it"
        elif one.loser is not None:
            why = f"{one.loser} drops it, so that {name} does not see it"
        else:
            why = f"An operation in between drops it, so that {name} does not see it"
        where = lab.place(one.subject) if one.kept else lab.capture.where
        share = one.padded / one.positions
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="padded positions count in the loss",
            where=where,
            explanation=(
                f"{one.maker} makes a mask that hides {one.padded} of {one.positions} positions of this batch "
                f"({share:.0%}). {why}: the padding is trained on, and is part of the number that is reported."
            ),
            evidence={"padded": one.padded, "positions": one.positions, "mask by": one.maker, "dropped by": one.loser},
            counterfactual=Counterfactual(
                change="leave out the positions that the mask hides",
                before=one.before,
                after=one.after,
                columns=("as written", "masked"),
                rows=(
                    Row("with other predictions at padded positions", one.moved, one.after_moved, "the padding counts"),
                ),
            ),
            fix=Fix(
                "Give the padding weight 0: pass sample_weight, 1 where there is data and 0 where there is padding"
                + (", and return one value per position." if one.kept else "; or carry the mask to the loss."),
                where=where,
                code=None if one.kept else "sample_weight=(x != 0).astype('float32')",
            ),
        )
