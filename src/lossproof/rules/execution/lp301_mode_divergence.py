"""LP301: the compiled step computes another value than the same code run eagerly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.execution.staging import Divergence
    from lossproof.lab.lab import Lab
    from lossproof.lab.subject import Subject


class ModeDivergence(Rule):
    """A loss that is right when called by hand and wrong in `fit`."""

    code = "LP301"
    name = "mode-divergence"
    severity = "error"
    summary = "differs between eager, graph and jit"
    explanation = """
`fit` does not run your Python code step by step: it is traced once into a graph, and the graph is optimized. TensorFlow's
optimizer may reorder a sum: `(1 - p) + 1e-8` becomes `(1 + 1e-8) - p`, and in float32 `1 + 1e-8` is 1, so that the
epsilon is gone and the logarithm is -inf where `p` is 1. Shapes may be open in the graph (`y_true.shape[0]` is None),
and code that asks for them takes another branch. Called by hand, on values, the loss is right: nothing raises.

**Proof.** The same function on the same tensors, called eagerly and staged as the script stages it: the value of one is
not finite, or the two differ by more than half of the digits of float32 and more than the eager value moves if its
arguments change in their last place. What draws random numbers or keeps a count is not compared. The place is the first
expression that differs when it is staged alone.

**What to do.** Write what no reordering can undo: `log(maximum(1 - p, 1e-7))`, `log1p(-p)`, a loss on logits. Ask for
shapes with `ops.shape`. `run_eagerly=True` hides it, at the price of speed.
"""
    source = (
        "https://github.com/tensorflow/tensorflow/issues/47548",
        "tensorflow/core/grappler/optimizers/constant_folding.cc, ConstantPushDown",
        "keras/src/backend/tensorflow/trainer.py, _make_function: the step is a tf.function",
    )
    backends = ("tensorflow",)
    yields_to = ("LP201", "LP203", "LP204", "LP302", "LP303")
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = rng.uniform(size=(64, 5)).astype("float32")
y = y / y.max(axis=1, keepdims=True)


def negative_log_density(share, shape):
    return -ops.mean(ops.log(shape) + (shape - 1) * ops.log((1 - share) + 1e-8), axis=-1)  # expect: LP301


model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="softplus"), layers.Rescaling(1.0, offset=1.0)])
model.compile(optimizer="sgd", loss=negative_log_density)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = rng.uniform(size=(64, 5)).astype("float32")
y = y / y.max(axis=1, keepdims=True)


def negative_log_density(share, shape):
    return -ops.mean(ops.log(shape) + (shape - 1) * ops.log(ops.maximum(1 - share, 1e-7)), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="softplus"), layers.Rescaling(1.0, offset=1.0)])
model.compile(optimizer="sgd", loss=negative_log_density)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.execution.following import mode_of
        from lossproof.lab.execution.staging import divergence
        from lossproof.lab.minimised import minimised

        if lab.capture.model is None:
            raise NotApplicable("there is no model, only a loss")
        if mode_of(lab) == "eager":
            raise NotApplicable("the steps run eagerly")
        if lab.capture.error is not None:
            raise NotApplicable("the call failed")
        for subject in lab.once(minimised):
            found = lab.once(divergence, subject)
            if found is not None:
                yield self._finding(lab, subject, found)
                return  # a compute_loss holds the losses

    def _finding(self, lab: Lab, subject: Subject, found: Divergence) -> Finding:
        how = {"graph": "the compiled graph", "jit": "the step compiled by XLA"}[found.mode]
        infinite = not np.isfinite(found.staged)
        at = "where predictions are right and as sure as they can be, " if found.sure else ""
        value = f"{found.staged:.4g}"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING if found.sure else Severity.ERROR,
            title=f"{subject.name} is {value} in {how} and {found.eager:.4g} eagerly",
            where=lab.place_of_event(found.event) if found.event is not None else lab.place(subject),
            measured=f"1 batch, {found.elements} of {found.of} values differ",
            explanation=" ".join(self._sentences(subject, found, how, at, infinite)),
            evidence={
                "mode": found.mode,
                "staged": found.staged if not infinite else value,
                "eager": found.eager,
                "differing": found.elements,
                "of": found.of,
                "sure": found.sure,
                "passes": [name for name, _ in found.passes],
            },
            counterfactual=Counterfactual(
                change="run_eagerly=True",
                before=found.staged,
                after=found.eager,
                label="loss on this batch" if not found.sure else "loss, sure and right",
                columns=("compiled", "eagerly"),
                rows=tuple(Row(f"without {name}", other, found.eager) for name, other in found.passes),
            ),
            fix=Fix(
                "Write what no reordering can undo: log(maximum(v, 1e-7)) instead of log(v + 1e-8), log1p(-p) instead "
                "of log(1 - p), or a loss on logits."
                if infinite
                else "Write this expression so that it does not depend on how it is compiled: ops.shape for shapes, "
                "ops.where for branches, no sums that cancel."
            ),
        )

    def _sentences(self, subject: Subject, found: Divergence, how: str, at: str, infinite: bool) -> Iterator[str]:
        yield f"Called on values {subject.name} is {found.eager:.4g}; {at}{how}, which fit runs, makes {found.staged:.4g} of it."
        if found.event is not None and found.pair is not None:
            staged, eager = found.pair
            yield f"`{found.event.place.expression}` is {staged:.4g} there and {eager:.4g} here."
        if found.passes:
            names = " or ".join(f"`{name}`" for name, _ in found.passes)
            yield f"The rewriting is done by {names} of tf.config.optimizer: without it the value is finite."
        yield "Nothing raises" + (", and every weight becomes NaN." if infinite else ".")
