"""LP107: the targets that arrive are not the targets that were passed, and the result differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.shape.target_change import ChangedTargets
    from lossproof.lab.shape.target_rank import ChangedRank


class TargetChanged(Rule):
    """A cast, an axis or a wrap on the way of the targets."""

    code = "LP107"
    name = "target-changed"
    severity = "error"
    summary = (
        "receives targets that differ in value, rank or dtype from what was passed, and the result differs (float32 "
        "times, uint8 wrap, expanded rank)"
    )
    explanation = """
Targets do not arrive as they were passed. A `keras.losses.Loss` casts them to float32, which has 24 bits: of whole numbers
above 16,777,216 some cannot be held, and seconds since 1970 are rounded to multiples of 128. JAX turns int64 into int32
before that, so that milliseconds wrap around. A function given to `compile` receives targets of shape (B,) as (B, 1), and
so does every loss where `y` is a pandas Series. A `compute_loss` or `train_step` gets them in their own dtype, in which
arithmetic may wrap: `2 * y - 1` is 255 where `y` is a uint8 of 0. Nothing raises.

**Proof.** The objective is computed on the targets as they were passed (in float64, exactly; in their own rank) and on
those that arrive, with the same predictions. The two differ by more than half of the digits of float32, and the change of
the targets is the reason. Where predictions are to meet the targets, the loss is also computed for neighbouring targets,
each against the next one: float32 leaves most of these differences wrong by half or more. Of any other loss that depends on
its targets: rounding changes them by more than half of their standard deviation, and fewer than half of them are left that
differ, all of them if their mean is taken away first. An added axis is accused only
if the loss without it is the same for predictions with and without theirs.

**What to do.** Bring times and large numbers to a small range before `fit`, in float64: `y - y.min()`, then a scale. Map
ids to 0..n-1, or hand them over as inputs. Cast unsigned integers before arithmetic: `ops.cast(y, "float32")`. Flatten in
the loss what has to be flat: `ops.reshape(y_true, (-1,))`.
"""
    source = (
        "keras/src/losses/loss.py, Loss.__call__: convert_to_tensor(x, dtype=self.dtype)",
        "keras/src/losses/loss.py, squeeze_or_expand_to_same_rank",
        "IEEE 754-2019, table 3.5: binary32 has a precision of 24 bits",
        "https://docs.jax.dev/en/latest/notebooks/Common_Gotchas_in_JAX.html#double-64bit-precision",
    )
    yields_to = ("LP101", "LP102", "LP104")
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
delay = rng.normal(size=(256, 4)).astype("float32")
asked = 1_700_000_000 + 30 * np.arange(256)  # seconds since 1970
answered = asked + np.round(10.0 * np.abs(delay[:, 0])).astype("int64")


def squared_seconds(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)  # expect: LP107


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="adam", loss=squared_seconds)
model.fit(delay, answered, verbose=0)
"""
    innocent = guilty.replace("fit(delay, answered,", "fit(delay, answered - asked,").replace("  # expect: LP107", "")

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.minimised import minimised
        from lossproof.lab.shape.target_change import changed_targets
        from lossproof.lab.shape.target_rank import changed_rank
        from lossproof.lab.subject import LossSubject

        subjects = lab.once(minimised)
        if not subjects:
            raise NotApplicable("nothing is minimised that could be evaluated")
        found = False
        for subject in subjects:
            if found and not isinstance(subject, LossSubject):
                return  # it holds the losses
            changed = lab.once(changed_targets, subject)
            if changed is not None:
                found = True
                yield self._finding(lab, changed)
            elif isinstance(subject, LossSubject):
                rank = lab.once(changed_rank, subject)
                if rank is not None:
                    found = True
                    yield self._of_rank(lab, rank)

    def _finding(self, lab: Lab, found: ChangedTargets) -> Finding:
        where = lab.place_of_event(found.event) if found.event is not None else lab.place(found.subject)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=self._title(found),
            where=where,
            measured=f"1 batch, {found.changed} of {found.of} targets are other numbers when they arrive"
            if found.kind != "arithmetic"
            else "1 batch",
            explanation=" ".join(self._sentences(found)),
            evidence={
                "kind": found.kind,
                "passed": found.passed,
                "received": found.received,
                "changed": found.changed,
                "of": found.of,
                "largest_change": found.lost,
                "standard_deviation": found.spread,
                "examples": [list(pair) for pair in found.examples],
            },
            counterfactual=Counterfactual(
                change="the targets as they were passed, computed exactly",
                before=found.before,
                after=found.after,
                label={"neighbours": "neighbouring targets for predictions", "rounded": "different targets"}.get(
                    found.kind, "loss on this batch"
                ),
                columns=(f"as received ({found.received})", f"as passed ({found.passed})"),
                rows=(Row("less the mean of the targets", found.shifted, found.after),)
                if found.shifted is not None
                else (),
            ),
            fix=Fix(self._fix(found)),
        )

    @staticmethod
    def _title(found: ChangedTargets) -> str:
        name = found.subject.name
        if found.kind == "arithmetic":
            return f"arithmetic on {found.received} targets wraps around in {name}"
        if found.kind == "rounded":
            return f"{found.passed} targets are rounded on their way into {name}: more is lost than is left of how they differ"
        if found.kind == "neighbours":
            return f"{found.passed} targets lose their last digits on their way into {name}: it cannot tell neighbours apart"
        return (
            f"{found.passed} targets arrive in {name} as other {found.received} numbers, and its value is another one"
        )

    @staticmethod
    def _sentences(found: ChangedTargets) -> Iterator[str]:
        pairs = " and ".join(f"{_exact(a)} arrives as {_exact(b)}" for a, b in found.examples[:2])
        if found.kind == "arithmetic":
            yield f"The targets are {found.received}, and {found.subject.name} computes with them in that dtype."
            if found.event is not None:
                yield f"`{found.event.place.expression}` leaves its range and wraps around."
        else:
            yield f"The targets were passed as {found.passed} and arrive as {found.received}: {pairs}."
        if found.kind == "neighbours":
            yield (
                f"A change of up to {found.lost:.4g} is as large as the difference of neighbouring targets, so the loss of most "
                "of them against the next one is wrong by half or more."
            )
        if found.kind == "rounded":
            yield (
                f"Their standard deviation is {found.spread:.4g}, the rounding changes them by up to {found.lost:.4g}: of "
                f"{found.after:.0f} different targets {found.before:.0f} are left. Nothing raises."
            )
            return
        yield f"Computed exactly it is {found.after:.6g}; here it is {found.before:.6g}. Nothing raises."

    @staticmethod
    def _fix(found: ChangedTargets) -> str:
        if found.kind == "arithmetic":
            return 'Cast the targets before any arithmetic: y = ops.cast(y, "float32").'
        if found.kind in ("neighbours", "rounded"):
            return "Before fit, in float64: subtract an offset (y - y.min()) and scale, so that the digits that differ are kept."
        return (
            "Before fit, bring the targets to a range that float32 holds exactly: ids to 0..n-1, times less their start; or hand "
            "them to the model as an input of their own dtype."
        )

    def _of_rank(self, lab: Lab, found: ChangedRank) -> Finding:
        name, passed, received = found.subject.name, _shape(found.passed), _shape(found.received)
        rows = (Row("predictions without their axis of 1", None, found.flat),) if found.flat is not None else ()
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"targets of shape {passed} arrive in {name} as {received}, and its value is another one",
            where=lab.place_of_event(found.event) if found.event is not None else lab.place(found.subject),
            measured="1 batch",
            explanation=(
                f"The targets were passed with shape {passed}. On their way into {name} they get an axis of size 1, which it "
                f"was not written for: with the targets as passed it is {found.after:.6g}, here it is {found.before:.6g}. "
                "Nothing raises."
            ),
            evidence={"kind": "rank", "passed": list(found.passed), "received": list(found.received)},
            counterfactual=Counterfactual(
                change="the targets in the rank in which they were passed",
                before=found.before,
                after=found.after,
                columns=(received, passed),
                rows=rows,
            ),
            fix=Fix(
                f"Flatten the targets at the top of {name}: y_true = ops.reshape(y_true, (-1,)).",
            ),
        )


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _exact(number: float) -> str:
    return f"{number:.0f}" if number == round(number) else f"{number!r}"
