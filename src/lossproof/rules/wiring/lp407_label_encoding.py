"""LP407: the labels are in another encoding than the loss assumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.class_axis import ClassAxis
    from lossproof.lab.wiring.class_weights import FirstOnly, PositionLooked
    from lossproof.lab.wiring.label_range import Unbounded
    from lossproof.lab.wiring.labels import Recoded
    from lossproof.lab.wiring.margins import Unsigned


class LabelEncoding(Rule):
    """Class numbers for one-hot rows or from 1, classes on another axis, labels of two, weights on several labels."""

    code = "LP407"
    name = "label-encoding"
    severity = "error"
    summary = "gets labels in another encoding than it assumes"
    explanation = """
A sparse cross-entropy wants class numbers counted from 0, a categorical one wants one-hot rows. The wrong form is refused,
with an error about shapes that does not speak of labels. Class numbers counted from 1 are worse: TensorFlow on a CPU and
PyTorch refuse the last class, JAX gives its samples the loss 0, so that it is never learned, and every other class is
trained under its neighbour's number. A margin loss such as a hinge, a function of label times score, wants labels of -1
and 1; `keras.losses.Hinge` converts 0 and 1, the formula does not: a sample with the label 0 has the same loss whatever is
predicted, so that training can only raise the scores of all. A binary cross-entropy of labels -1 and 1, 1 and 2, or 0 and
255 is a number like any other, but has no minimum: the surer a prediction, the lower it is, without end. `class_weight`
looks up one class for each sample, the argmax of its row: of samples with several labels it sees the first, of samples with
none the class 0. Of rows of class numbers, one for each time step, it takes the position of the largest number for the
class. And a categorical cross-entropy takes the last axis for the classes: of one-hot targets with the classes first it
compares the columns of an image. `keras.losses.CTC` takes class 0 for the blank and for the end of a sequence: of classes
counted from 0, as in `ctc_batch_cost`, the first is never read, and the labels at the end of its sequences do not count.

**Proof.** The targets are written in the other encoding: the objective then has a value, every sample has a gradient, the
weights of all labels act, perfect predictions cost nothing, or the loss levels off where predictions are sure. The share of
samples that this concerns is counted.

**What to do.** `keras.utils.to_categorical(y)`, `y.argmax(axis=-1)`, `y - 1` or labels of 0 and 1, as the finding says;
for several labels put the weights into the loss, one for each label; for class numbers per time step look them up
yourself, `sample_weight=weights[y]`.
"""
    source = (
        "keras/src/trainers/data_adapters/data_adapter_utils.py, class_weight_to_sample_weights",
        "keras/src/backend/jax/nn.py, sparse_categorical_crossentropy",
    )
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = rng.integers(0, 3, size=64)

model = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax")])
model.compile(optimizer="sgd", loss="categorical_crossentropy")
model.fit(x, y, verbose=0)  # expect: LP407
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = rng.integers(0, 3, size=64)

model = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax")])
model.compile(optimizer="sgd", loss="categorical_crossentropy")
model.fit(x, keras.utils.to_categorical(y, 3), verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.blank import blank_taken
        from lossproof.lab.wiring.class_axis import class_axis
        from lossproof.lab.wiring.class_weights import first_label_only, position_looked_up
        from lossproof.lab.wiring.label_range import unbounded_labels
        from lossproof.lab.wiring.labels import recoded
        from lossproof.lab.wiring.margins import unsigned_labels

        for subject in lab.losses if lab.capture.error is None else ():
            unsigned = lab.once(unsigned_labels, subject)
            if unsigned is not None:
                yield self._margin(lab, unsigned)
                return
        turned = lab.once(class_axis) if lab.capture.error is None else None
        if turned is not None:
            yield self._axis(lab, turned)
            return
        if len(lab.compiled.outputs.items) != 1:
            raise NotApplicable("the model has several outputs")
        one = lab.attempt(lambda: lab.once(recoded))
        if one is None and lab.capture.error is None:
            one = lab.once(blank_taken)
        looked = lab.attempt(lambda: lab.once(position_looked_up)) if one is None else None
        if one is not None:
            yield self._encoding(lab, one)
        elif looked is not None:
            yield self._looked_up(lab, looked)
        elif lab.capture.error is None:
            unbounded = lab.once(unbounded_labels)
            if unbounded is not None:
                yield self._range(lab, unbounded)
                return
            first = lab.attempt(lambda: lab.once(first_label_only))
            if first is not None:
                yield self._weights(lab, first)

    def _encoding(self, lab: Lab, one: Recoded) -> Finding:
        failed = isinstance(one.before, str)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the labels are {one.given}, and the loss assumes {one.assumed}",
            where=lab.capture.where,
            measured=f"1 batch of {one.count}",
            explanation=f"The targets are {one.given}; the loss assumes {one.assumed}. {one.follows}",
            evidence={
                "given": one.given,
                "assumed": one.assumed,
                "classes": one.classes,
                **({one.losing: one.lost} if one.losing else {}),
                **({"explains_error": True} if failed else {}),
            },
            counterfactual=Counterfactual(
                change=f"the same targets as {one.assumed}",
                before=one.before,
                after=one.after,
                columns=("as written", "recoded"),
                rows=(Row(one.losing, one.lost, 0),) if one.losing else (),
            ),
            fix=Fix(f"Give the labels as {one.assumed}.", where=lab.capture.where, code=one.code),
        )

    def _margin(self, lab: Lab, one: Unsigned) -> Finding:
        name = one.subject.name
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the labels are 0 and 1, and {name} wants -1 and 1",
            where=lab.place(one.subject),
            measured=f"1 batch of {one.count}",
            explanation=(
                f"{name} is a margin loss: a function of label times score. For the label 0 it is the same whatever is "
                f"predicted: {one.silent} of {one.count} samples get no gradient, and nothing draws a score down. "
                "Nothing raises."
            ),
            evidence={"given": "0 and 1", "assumed": "-1 and 1", "samples without gradient": one.silent},
            counterfactual=Counterfactual(
                change="the same labels as -1 and 1",
                before=one.before,
                after=one.after,
                columns=("as written", "recoded"),
            ),
            fix=Fix("Give the labels as -1 and 1.", where=lab.capture.where, code="y = 2.0 * y - 1.0"),
        )

    def _range(self, lab: Lab, one: Unbounded) -> Finding:
        low, high = one.labels
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the labels are {low:g} and {high:g}, and the loss assumes 0 and 1",
            where=lab.capture.where,
            measured=f"1 batch of {one.subject.batch_size}",
            explanation=(
                f"With the labels {low:g} and {high:g} {one.subject.name} has no minimum: the surer the predictions, the "
                f"lower it is, by as much each time ({', '.join(f'{value:.4g}' for value in one.given)}). With 0 and 1 it "
                f"levels off ({', '.join(f'{value:.4g}' for value in one.recoded)}). Nothing raises: the loss falls below "
                "that of a perfect model, and the weights grow."
            ),
            evidence={"labels": list(one.labels), "as given": list(one.given), "recoded": list(one.recoded)},
            counterfactual=Counterfactual(
                change="the same labels as 0 and 1",
                before=one.given[-1],
                after=one.recoded[-1],
                label="loss of sure and right predictions",
                columns=("as written", "recoded"),
            ),
            fix=Fix(
                "Give the labels as 0 and 1.", where=lab.capture.where, code=f"y = (y == {high:g}).astype('float32')"
            ),
        )

    def _weights(self, lab: Lab, one: FirstOnly) -> Finding:
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="class_weight sees one label of each sample",
            where=lab.capture.where,
            measured=f"1 batch of {one.count}",
            explanation=(
                f"The targets have several labels, or none, in a row. Keras makes one weight per sample: that of the "
                f"first label, or of class 0 where there is none. {one.rows} of {one.count} samples get a weight that is "
                "not that of their labels. Nothing raises."
            ),
            evidence={"samples": one.count, "with another weight": one.rows},
            counterfactual=Counterfactual(
                change="weight each sample by the mean weight of its labels, by 1 without any",
                before=one.before,
                after=one.after,
            ),
            fix=Fix("Leave class_weight out, and weight each label in the loss."),
        )

    def _axis(self, lab: Lab, one: ClassAxis) -> Finding:
        name, axis, shape = one.subject.name, one.axis, one.shape
        outputs = (
            " The outputs are probabilities along the last axis as well: check the softmax." if one.outputs else ""
        )
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the targets are one-hot along axis {axis}, and the loss takes the last axis for the classes",
            where=lab.place(one.subject),
            measured=f"1 batch of {one.subject.batch_size}",
            explanation=(
                f"The targets {shape} have a single 1 along axis {axis}, of size {shape[axis]}; along the last axis, of size "
                f"{shape[-1]}, they add up to {one.sums[0]:g} to {one.sums[1]:g}. {name} compares along the last axis: what "
                f"lies there competes for one 1, and a perfect model does not have the lowest loss.{outputs} Nothing raises."
            ),
            evidence={
                "subject": name,
                "classes along axis": axis,
                "shape": list(shape),
                "sums along the last": one.sums,
            },
            counterfactual=Counterfactual(
                change=f"axis {axis} of targets and predictions moved to the end",
                before=one.before,
                after=one.after,
                label="loss of perfect predictions",
                columns=("as written", "classes last"),
            ),
            fix=Fix(
                f"Give the loss, and the softmax before it, the axis of the classes (`axis={axis}`), or move the classes to "
                "the end."
            ),
        )

    def _looked_up(self, lab: Lab, one: PositionLooked) -> Finding:
        rows, count = one.shape
        failed = isinstance(one.before, str)
        follows = (
            f"It then fails to apply the {rows} weights to one loss per class number: {one.before}."
            if failed
            else f"The {rows} weights meet the losses along the axis of the {count} class numbers, which are as many. "
            f"{one.wrong} of {rows * count} class numbers get another weight than that of their class. Nothing raises."
        )
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="class_weight takes the position of the largest class number in a row for the class",
            where=lab.capture.where,
            measured=f"1 batch of {rows}",
            explanation=(
                f"The targets are class numbers of shape {one.shape}, {count} for each sample. Keras takes them for one-hot "
                f"rows and makes one weight per sample, that of the class argmax(row), which is a position. {follows}"
            ),
            evidence={
                "targets": list(one.shape),
                "with another weight": one.wrong,
                **({"explains_error": True} if failed else {}),
            },
            counterfactual=Counterfactual(
                change="the weight of its class for each class number",
                before=one.before,
                after=one.after,
            ),
            fix=Fix(
                "Leave class_weight out, and look up one weight for each class number.",
                where=lab.capture.where,
                code="sample_weight = weights[y]   # weights: one number for each class",
            ),
        )
