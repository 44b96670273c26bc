"""Hand-made reports, one for each situation that a reader meets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum

import pytest

from lossproof.findings.finding import Counterfactual, Finding, Fix, Label, Place, Row, Severity
from lossproof.report.report import CaptureCard, Report, ScriptError, TensorCard, TermCard

CODES = tuple(f"LP{n}" for n in (101, 103, 105, 201, 202, 203, 204, 302, 401, 403, 404, 411, 412, 501))

CARD = CaptureCard(
    id=1,
    call="fit",
    where=Place("train.py", 24, scope=None),
    model='Sequential "ratings" with output dense_1',
    terms=(
        TermCard(
            name="loss",
            output="dense_1",
            loss="SquaredError",
            targets=(TensorCard("y_true", (32,), "float32", 0.5, 4.981),),
            predictions=(TensorCard("y_pred", (32, 1), "float32", -1.2034, 3.1),),
            value=8.119,
        ),
    ),
    total=8.119,
    weights_with_gradient=4,
    weights_trainable=4,
    steps=2,
    shortened="1 of 30 epochs, 2 steps each",
)

PAIRED = Finding(
    code="LP101",
    name="batch-broadcast",
    severity=Severity.ERROR,
    title="Every prediction is compared with all 32 targets: 1024 pairs, 992 of them wrong",
    explanation="Nothing raises, so training runs on.",
    where=Place(
        "train.py",
        12,
        column=31,
        end_column=46,
        expression="y_true - y_pred",
        scope="SquaredError.call",
        source="        return ops.mean(ops.square(y_true - y_pred), axis=-1)",
        labels=(Label(35, 41, "(32,)"), Label(44, 50, "(32, 1)"), Label(35, 50, "gives (32, 32)")),
    ),
    capture=1,
    counterfactual=Counterfactual(
        change="y_true reshaped to (32, 1)",
        before=8.119,
        after=12.744,
        columns=("as written", "rows paired"),
        rows=(
            Row("with y_true shuffled", 8.119, 6.836, "pairing is ignored"),
            Row("with y_pred = y_true", 12.225, 0.0, "a perfect model"),
        ),
    ),
    fix=Fix(
        "give y one column where it is made. Re-run here: 12.744, finding gone.",
        Place("train.py", 7),
        "y = y[:, None]        # (N, 1), like the output of Dense(1)",
    ),
    evidence={"y_true": [32], "y_pred": [32, 1], "result": [32, 32]},
)

NOT_A_NUMBER = Finding(
    code="LP204",
    name="non-finite-value",
    severity=Severity.WARNING,
    title="The loss is NaN for 3 of 256 samples: log(0) where y_pred is exactly 0",
    explanation="One such sample makes the batch NaN, and every weight with it after one step.",
    where=Place(
        "losses/focal.py",
        41,
        column=18,
        end_column=35,
        expression="ops.log(y_pred)",
        scope="focal.<locals>.loss",
        source="    ce = y_true * ops.log(y_pred)",
        labels=(Label(26, 32, "0 for 3 of 256"), Label(18, 33, "gives -inf for 3 of 256")),
    ),
    capture=1,
    measured="8 batches",
    counterfactual=Counterfactual(
        change="y_pred clipped to [1e-07, 1 - 1e-07]",
        before=math.nan,
        after=0.3142,
        rows=(Row("largest gradient", math.inf, 1.25e7, "still large"), Row("samples that are NaN", 3, 0)),
    ),
    fix=Fix(
        "clip y_pred, or train on logits.", Place("losses/focal.py", 41), "ce = y_true * ops.log(ops.clip(y_pred))"
    ),
)

NOTE = Finding(
    code="LP103",
    name="scalar-with-weights",
    severity=Severity.NOTE,
    title="The loss returns a scalar; sample weights, which this script does not use, could not act on it",
    where=Place("train.py", 9, scope="rmse"),
    capture=1,
    counterfactual=Counterfactual("sample weights set to 0 for half of the batch", 1.25, 1.25),
    fix=Fix("return one value per sample."),
)

UNMATCHED = Finding(
    code="LP401",
    name="unmatched-key",
    severity=Severity.ERROR,
    title="loss key 'age' does not match any output: 'age_head', 'sex_head'; did you mean 'age_head'?",
    explanation="Keras matches the keys of `loss` with the names of the output layers, and raises on the first other.",
    where=Place(
        "faces.py",
        31,
        column=0,
        end_column=1,
        expression='model.compile(\n    optimizer="adam",\n    loss={"age": "mse", "sex_head": "bce"},\n)',
        source='model.compile(\n    optimizer="adam",\n    loss={"age": "mse", "sex_head": "bce"},\n)',
    ),
    counterfactual=Counterfactual(
        change='loss={"age_head": "mse", "sex_head": "bce"}',
        before="ValueError: In the dict argument `loss`, key 'age' does not correspond to any model output",
        after=0.8123,
        label="the first step",
    ),
    fix=Fix("name the output.", Place("faces.py", 33), 'loss={"age_head": "mse", "sex_head": "bce"},'),
)

TWO_HEADS = CaptureCard(
    id=2,
    call="train_on_batch",
    where=Place("train.py", 57),
    model='Functional "faces" with outputs age_head, sex_head',
    terms=(
        TermCard(
            "age_head",
            "age_head",
            "mean_squared_error",
            (TensorCard("y_true", (16, 1), "float32", 18.0, 93.0),),
            (TensorCard("y_pred", (16, 1), "float32", -0.125, 1.5),),
            weight=0.01,
            sample_weight=TensorCard("sample_weight", (16,), "float32", 1.0, 1.0),
            value=2031.5,
        ),
        TermCard(
            "sex_head",
            "sex_head",
            "binary_crossentropy",
            (TensorCard("y_true", (16, 1), "uint8", 0, 1),),
            (TensorCard("y_pred", (16, 1), "float32", 0.2, 0.7),),
            weight=1.0,
            value=0.6931,
        ),
    ),
    regularization=0.0123,
    total=21.0204,
    weights_with_gradient=6,
    weights_trainable=8,
    weights_without_gradient=("embedding/embeddings", "embedding/bias"),
    steps=1,
    unseen=("the validation data, which this call has not",),
)

TRACEBACK = """\
Traceback (most recent call last):
  File "faces.py", line 40, in <module>
    model.fit(x, {"age": y})
ValueError: In the dict argument `loss`, key 'age' does not correspond to any model output"""

UNICODE_SOURCE = '\treturn größe * (日本語 - e\u0301) + "👍" * y_pred'


def _labels(source: str, **texts: str) -> tuple[Label, ...]:
    return tuple(Label(source.index(part), source.index(part) + len(part), text) for part, text in texts.items())


UNICODE = replace(
    PAIRED,
    where=Place(
        "verluste/größe.py",
        3,
        source=UNICODE_SOURCE,
        labels=_labels(UNICODE_SOURCE, 日本語="(8,)", y_pred="(8, 1)", größe="()"),
        remark="the function was found by its first line alone",
    ),
    title="größe is broadcast",
)

HEALTHY = Report("train.py", "jax", "3.15.1", (CARD, TWO_HEADS), (), CODES[:12], {"LP412": "one output", "LP501": "x"})


def samples() -> dict[str, Report]:
    """The reports, by the name of their snapshots."""
    one = Report("train.py", "jax", "3.15.1", (CARD,), (PAIRED,), CODES, {"LP701": "one replica"})
    cell = Place("study.ipynb", 2, 11, 26, "y_true - y_pred", "loss", 3, "    return y_true - y_pred")
    error = ScriptError("ValueError", TRACEBACK.rpartition(": ")[2], TRACEBACK, Place("faces.py", 40), "LP401")
    reasons = {"LP412": "one output", "LP501": "one model", "LP701": "one replica", "LP304": "one output"}
    return {
        "paired": one,
        "nan": replace(one, findings=(NOT_A_NUMBER,)),
        "exception-explained": replace(one, captures=(), findings=(UNMATCHED,), script_error=error),
        "exception-unexplained": replace(
            one, findings=(), script_error=replace(error, explained_by=None, after_shortening=True)
        ),
        "notes-only": replace(one, findings=(NOTE, replace(NOTE, where=None, title="A fact"))),
        "no-finding": replace(HEALTHY, skipped=reasons),
        "notebook": replace(one, findings=(replace(PAIRED, where=cell),)),
        "unicode": replace(one, findings=(UNICODE,)),
        "many": replace(
            HEALTHY, findings=(NOTE, NOT_A_NUMBER, PAIRED, replace(UNMATCHED, capture=2)), allowed=(NOT_A_NUMBER,)
        ),
        "crash": replace(
            one,
            findings=(),
            crashed={"LP203": 'Traceback\n  File "lp203.py", line 3\nZeroDivisionError: division by zero'},
            notices=("no `fit`, `evaluate` or `train_on_batch` was seen",),
            captures=(),
        ),
    }


@pytest.fixture(params=sorted(samples()))
def sample(request: pytest.FixtureRequest) -> tuple[str, Report]:
    """A name and its report."""
    return request.param, samples()[request.param]


@pytest.fixture
def paired() -> Report:
    """The report of HOUSE.md's sample."""
    return samples()["paired"]


@pytest.fixture
def every_sample() -> dict[str, Report]:
    """All reports by name."""
    return samples()


def _poisoned(value: object, text: str) -> object:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return value + text
    if isinstance(value, tuple):
        return tuple(_poisoned(v, text) for v in value)
    if isinstance(value, dict):
        return {_poisoned(k, text): _poisoned(v, text) for k, v in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: _poisoned(getattr(value, f.name), text) for f in fields(value)})
    return value


@pytest.fixture
def poisoned() -> Callable[[Report, str], Report]:
    """Gives a report with a hostile text after each of its strings."""
    return _poisoned
