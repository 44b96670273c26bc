"""How often the step of a model was compiled, how often it had to be, and what that costs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import keras

from lossproof.capture.batch import count_batches
from lossproof.capture.record import Training
from lossproof.findings.finding import Place
from lossproof.lab.execution.following import mode_of
from lossproof.lab.lab import Lab
from lossproof.lab.received import Batch
from lossproof.rules.rule import NotApplicable

ROUNDS = 6
"""A training in phases compiles a few times; from here on it is a loop."""


@dataclass(frozen=True)
class Retracing:
    """A step that is compiled again and again."""

    cause: str
    """`compile`: the script compiles the model in each round; `shapes`: most steps meet a new shape."""
    times: int
    needed: int
    rounds: int
    """Calls that train (`compile`), or steps (`shapes`)."""
    steps: float
    """Steps of a round."""
    tracing: float
    """Seconds until a step is traced and compiled, without running it."""
    step: float
    """Seconds of a step that is compiled."""
    where: Place | None

    @property
    def share(self) -> float:
        """The part of the time that goes into compiling."""
        spent = self.times * self.tracing
        return spent / (spent + self.rounds * self.steps * self.step)


def retracing(lab: Lab) -> Retracing | None:
    """The proof that most of the time goes into compiling the same step; None where it does not.

    Raises:
        NotApplicable: Steps are not compiled here, or there is only one of them.
    """
    if mode_of(lab) == "eager":
        raise NotApplicable("the steps run eagerly")
    candidates = [one for one in (_compiled_anew(lab), _shaped_anew(lab)) if one is not None]
    if not candidates:
        raise NotApplicable("the step is compiled once for all that it trains on")
    tracing, step = _seconds(lab)
    for cause, times, needed, rounds, steps, where in candidates:
        found = Retracing(cause, times, needed, rounds, steps, tracing, step, where)
        if found.share > 0.5:
            return found
    return None


_Candidate = tuple[str, int, int, int, float, Place | None]


def _compiled_anew(lab: Lab) -> _Candidate | None:
    """The rounds of a loop that compiles the same objective each time and trains on from where it was."""
    model, compiled = lab.capture.model, lab.capture.compiled
    if compiled is None or compiled.where is None:
        return None
    alike = [one for one in lab.run.trainings if one.model() is model and _alike(one, lab)]
    times = len({one.compiled.serial for one in alike if one.compiled is not None})
    if times < ROUNDS or _put_back(lab):
        return None
    return "compile", times, 1, len(alike), _steps(lab, alike), compiled.where


def _alike(training: Training, lab: Lab) -> bool:
    """Whether a training is of the captured objective: the same code, compiled by the same line, for the same weights."""
    mine, theirs = lab.capture.compiled, training.compiled
    if mine is None or theirs is None or mine.where is None or theirs.where is None or theirs.serial == 0:
        return False
    if (mine.where.file, mine.where.line) != (theirs.where.file, theirs.where.line):
        return False
    own = next((one for one in lab.run.trainings if one.capture == lab.capture.id), None)
    weights = [[id(v()) for v in one.variables] for one in (own, training) if one is not None]
    return len(weights) == 2 and weights[0] == weights[1] and _code(mine.arguments) == _code(theirs.arguments)


def _code(arguments: dict[str, Any]) -> list[Any]:
    """What the losses and metrics of a compilation run, whatever numbers they close over."""

    def code(leaf: Any) -> Any:
        function = getattr(leaf, "func", getattr(leaf, "__func__", leaf))
        return getattr(function, "__code__", None) or (leaf if isinstance(leaf, str) else type(leaf))

    return [[code(leaf) for leaf in keras.tree.flatten(arguments.get(key))] for key in ("loss", "metrics")]


def _put_back(lab: Lab) -> bool:
    """Whether the script assigned weights between the rounds: then each is a training of its own."""
    for variable in lab.capture.model.trainable_variables:
        history = [update.by for update in lab.run.updates_of(variable)]
        begun = next((i for i, by in enumerate(history) if by != "assign"), len(history))
        if "assign" in history[begun:]:
            return True
    return False


def _steps(lab: Lab, trainings: list[Training]) -> float:
    """Steps of one of the calls, as the script asked for them."""
    capture = lab.capture
    if capture.call != "fit":
        return sum(one.steps for one in trainings) / len(trainings)
    batches = capture.data.get("steps_per_epoch") or count_batches(
        capture.data.get("x"), capture.data.get("batch_size"), capture.data.get("validation_split") or 0.0
    )
    return float((batches or capture.steps or 1) * (capture.epochs_asked or 1))


def _shaped_anew(lab: Lab) -> _Candidate | None:
    """The steps of a training in which most steps meet a shape that none before them had."""
    forms = lab.capture.forms
    if lab.backend.name != "jax" or len(forms) < ROUNDS:  # TensorFlow opens the axis when it meets a second size
        return None
    steps = sum(forms.values())
    if len(forms) <= steps / 2:
        return None
    return "shapes", len(forms), 1, steps, 1.0, lab.capture.where


def _seconds(lab: Lab) -> tuple[float, float]:
    """What the first call of the staged objective with its gradient takes beyond the others, and what these take."""
    start, batch = lab.model.start, lab.batch
    parts = (batch.x, batch.y, batch.sample_weight)
    flat = keras.tree.flatten(parts)
    positions = [i for i, leaf in enumerate(flat) if lab.backend.is_tensor(leaf)]
    _ = lab.model.state

    def gradient(*tensors: Any) -> Any:
        leaves = list(flat)
        for i, tensor in zip(positions, tensors[len(start) :], strict=True):
            leaves[i] = tensor
        filled = Batch(*keras.tree.pack_sequence_as(parts, leaves))
        value, found = lab.backend.gradient(
            lambda *weights: lab.model.objective(filled, list(weights)), list(tensors[: len(start)])
        )
        return value, [one for one in found if one is not None]

    compiled = lab.backend.stages(gradient, mode_of(lab))
    arguments = [*start, *(flat[i] for i in positions)]
    taken = []
    with lab.undisturbed():
        for _ in range(4):
            began = time.perf_counter()
            lab.number(compiled(*arguments)[0])
            taken.append(time.perf_counter() - began)
    return max(0.0, taken[0] - min(taken[1:])), min(taken[1:])
