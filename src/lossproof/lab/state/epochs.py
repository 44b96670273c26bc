"""A metric over the script's own batches, and the same metric over all of their rows at once."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import Recorded, in_memory, take_rows
from lossproof.capture.userfiles import is_user_function
from lossproof.lab.failure import needed
from lossproof.lab.lab import Lab
from lossproof.lab.listen import Heard, listening
from lossproof.lab.noise import rounding
from lossproof.lab.received import Batch, as_batch
from lossproof.lab.state.reporting import reported
from lossproof.lab.subject import Subject, take
from lossproof.lab.subjects import metric_subject
from lossproof.rules.rule import NotApplicable

LEAST_BATCHES = 4
MOST_ROWS = 1024
"""Enough for a metric's sampling error, and no burden where a metric compares all pairs of rows."""
GROUPS = 16
WORK = 2e10
"""Multiplications of forward passes (see `work`) after which no further batch is predicted."""

Pair = tuple[Any, Any]
"""Targets and predictions of some rows, as the metric receives them."""


@dataclass(frozen=True)
class Averaged:
    """A metric on the same rows, by batches and at once."""

    subject: Subject
    by_batches: float
    """What Keras reports: the metric updated batch by batch."""
    at_once: float
    """The metric updated once with all rows."""
    of_quarters: float
    """The mean of four values, each of a random quarter of the rows."""
    at_random: float
    """The mean over batches of the same size, of the rows in random orders."""
    error: float
    """The standard error of `at_once`, by a jackknife of random groups of rows."""
    gap_error: float
    """That of the difference, from the ratio of both on the same rows by a jackknife of random groups of batches, where
    the difference is half of one of them; else infinite."""
    values: tuple[float, ...]
    """The metric of each batch."""
    rows: int
    batch_size: int
    data: str
    """Which data: `validation`, `evaluation` or `training`."""
    made_up: bool
    """Whether the predictions are made of the targets, not by the model."""

    @property
    def misleads(self) -> bool:
        """Whether the metric has a value for the data, and what is reported is another number.

        The report is another number beyond three standard errors of the value and rounding. Rare large rows make the
        value itself uncertain; then it is one beyond three standard errors of the difference that is wrong by half.
        """
        noise = rounding("float32", max(abs(self.by_batches), abs(self.at_once)), self.rows)
        gap = abs(self.by_batches - self.at_once)
        least = 3.0 * min(self.error, self.gap_error) + noise
        return self.error > 0.0 and self._has_value and gap > least

    @property
    def _has_value(self) -> bool:
        """Whether the metric does not hang on the number of rows: a quarter of them gives the same.

        Where batches at random are near the value, the order of the rows makes the difference, and half of the value is
        near enough. Otherwise their size does: by chance (which of these 32 is the match?), or as a number that grows or
        falls with it. There a quarter must give the same to two standard errors, and the value be none that is zero to
        three, as a share of chance hits among all rows is.
        """
        near = max(2.0 * self.error, 0.5 * abs(self.at_once))
        apart = abs(self.of_quarters - self.at_once)
        if abs(self.at_random - self.at_once) <= near:
            return apart <= near
        return apart <= 2.0 * self.error and abs(self.at_once) > 3.0 * self.error


def averaged_metrics(lab: Lab) -> tuple[Averaged, ...]:
    """Each metric of the user's on full batches of the data that the script evaluates, unweighted.

    Raises:
        NotApplicable: There is no such metric, or there are too few batches.
    """
    with needed("the metrics cannot be evaluated"):
        return _averaged_metrics(lab)


def _averaged_metrics(lab: Lab) -> tuple[Averaged, ...]:
    metrics = _own_metrics(lab)
    if not metrics:
        raise NotApplicable("no metric of the user's own")
    data, batches = _batches(lab)
    heard: dict[int, list[Heard]] = {id(metric): [] for metric in metrics}
    work, rows, size = 0.0, 0, None
    with lab.undisturbed(), lab.model.scope(collect=False):
        for batch in batches:
            count = _rows(batch)
            size = size if size is not None else count
            if count != size:
                continue
            rows += count
            work += lab.evaluation.work
            forward = lab.model.forward(batch.x, training=False)
            with listening(metrics=[m for m in metrics if keras_private.metric_function(m) is None]) as hearing:
                lab.capture.model.compute_metrics(batch.x, batch.y, forward.y_pred, batch.sample_weight)
            for one in hearing.metrics:
                if id(one.target) in heard:
                    heard[id(one.target)].append(one)
            if rows >= max(MOST_ROWS, LEAST_BATCHES * size) or work > WORK:
                break
        found = []
        for calls in heard.values():
            weighted = any(one.sample_weight is not None for one in calls)
            if len(calls) >= LEAST_BATCHES and not weighted:
                measured = lab.attempt(functools.partial(_measured, lab, calls, data))
                if measured is not None:
                    found.append(measured)
    if not found:
        raise NotApplicable(f"fewer than {LEAST_BATCHES} full batches, or sample weights")
    return tuple(found)


def _own_metrics(lab: Lab) -> list[Any]:
    compiled = keras_private.compile_metrics(lab.capture.model)
    found = []
    for metric in compiled.metrics if compiled is not None else ():
        function = keras_private.metric_function(metric)
        if is_user_function(function if function is not None else type(metric).update_state):
            found.append(metric)
    if found and lab.overrides_train_step:
        step = lab.once(reported, "train")
        updated = {id(one.metric) for one in step.updated} if step is not None else set()
        found = [metric for metric in found if id(metric) in updated]
    return found


# The script's own batches -----------------------------------------------------------------------------------------


def _batches(lab: Lab) -> tuple[str, Iterator[Batch]]:
    name, data = _data(lab)
    if isinstance(data.get("x"), Recorded):
        raise NotApplicable("the data came from a generator")

    def read() -> Iterator[Batch]:
        for items in keras_private.epoch_data(data):
            yield as_batch(items)

    return name, read()


def _data(lab: Lab) -> tuple[str, dict[str, Any]]:
    capture = lab.capture
    data, held_out = capture.data, capture.data.get("validation_split") or 0.0
    size = data.get("validation_batch_size") or data.get("batch_size")
    given = data.get("validation_data")
    if given is not None:
        pairs = isinstance(given, (list, tuple))
        x, y, weight = keras.utils.unpack_x_y_sample_weight(given) if pairs else (given, None, None)
        return "validation", {"x": x, "y": y, "sample_weight": weight, "batch_size": size}
    arrays = in_memory(data.get("x"), data.get("y"))
    count = _count(data) if arrays else 0
    keys = ("x", "y", "sample_weight")
    if held_out and arrays:
        rows = np.arange(int(np.floor(count * (1.0 - held_out))), count)[: _most(size)]
        return "validation", {**{key: take_rows(data.get(key), rows) for key in keys}, "batch_size": size}
    evaluations = [
        one for one in lab.run.captures if one.call == "evaluate" and one.model is capture.model and one.data
    ]
    if evaluations:
        return "evaluation", evaluations[0].data
    if capture.call == "evaluate":
        return "evaluation", data
    if arrays and capture.call in ("fit", "check"):
        order = np.random.default_rng(0).permutation(count) if data.get("shuffle", True) else np.arange(count)
        size = data.get("batch_size")
        rows = order[: _most(size)]
        return "training", {**{key: take_rows(data.get(key), rows) for key in keys}, "batch_size": size}
    if capture.call == "fit":
        return "training", data
    raise NotApplicable("the script hands over its batches one by one")


def _most(batch_size: int | None) -> int:
    return max(MOST_ROWS, LEAST_BATCHES * (batch_size or 32))


def _count(data: dict[str, Any]) -> int:
    return int(keras.tree.flatten((data.get("x"), data.get("y")))[0].shape[0])


def _rows(batch: Batch) -> int:
    return int(keras.tree.flatten((batch.x, batch.y))[0].shape[0])


# The metric on them -----------------------------------------------------------------------------------------------


def _measured(lab: Lab, calls: Sequence[Heard], data: str) -> Averaged | None:
    """With the model's predictions; where these show nothing, with predictions that a trained model might make."""
    subject = metric_subject(calls[0])
    pairs = [(one.y_true, one.y_pred) for one in calls]
    measured = _compare(lab, subject, pairs, data, made_up=False)
    if measured is not None and measured.misleads:
        return measured
    guesses = _made_of_targets(pairs)
    return _compare(lab, subject, guesses, data, made_up=True) if guesses is not None else measured


def _compare(lab: Lab, subject: Any, pairs: list[Pair], data: str, made_up: bool) -> Averaged | None:
    def value(parts: Sequence[Pair]) -> float:
        subject.metric.reset_state()
        for y_true, y_pred in parts:
            subject.metric.update_state(y_true, y_pred)
        result = lab.number(subject.metric.result())
        if result.size != 1:
            raise NotApplicable("the metric has several values")
        return float(result.reshape(()))

    whole = tuple(_joined([pair[i] for pair in pairs]) for i in (0, 1))
    size = _length(pairs[0][0])
    rows = size * len(pairs)
    random = np.random.default_rng(0)
    order = random.permutation(rows)
    quarters = [value([_part(whole, part)]) for part in np.array_split(order, 4)]
    orders = [order, *(random.permutation(rows) for _ in range(3))]
    at_random = value([_part(whole, part) for one in orders for part in np.array_split(one, len(pairs))])
    left_out = [value([_part(whole, np.sort(np.setdiff1d(order, group)))]) for group in np.array_split(order, GROUPS)]
    by_batches, at_once = value(pairs), value([whole])
    gap_error = np.inf
    if abs(by_batches - at_once) > 0.5 * min(abs(by_batches), abs(at_once)):
        batches, shares = np.arange(rows).reshape(len(pairs), size), []
        for group in np.array_split(random.permutation(len(pairs)), min(GROUPS, len(pairs))):
            rest = np.delete(batches, group, axis=0)
            without = value([_part(whole, rest.ravel())])
            shares.append(value([_part(whole, one) for one in rest]) / without if without else np.nan)
        gap_error = _jackknife(shares) * abs(at_once)
    measured = Averaged(
        subject=subject,
        by_batches=by_batches,
        at_once=at_once,
        of_quarters=float(np.mean(quarters)),
        at_random=at_random,
        error=_jackknife(left_out),
        gap_error=gap_error,
        values=tuple(value([pair]) for pair in pairs),
        rows=rows,
        batch_size=size,
        data=data,
        made_up=made_up,
    )
    numbers = [measured.by_batches, measured.at_once, measured.of_quarters, measured.at_random, measured.error]
    return measured if np.isfinite(numbers).all() else None


def _jackknife(left_out: Sequence[float]) -> float:
    """The standard error of a value, from its values with one group of the data left out."""
    count = len(left_out)
    return float(np.sqrt((count - 1) / count * np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))


def _made_of_targets(pairs: list[Pair]) -> list[Pair] | None:
    """Targets of 0 and 1 with one row in five exchanged: the mistakes that a classifier makes.

    For other targets none are made: how errors are distributed there is for the model to say.
    """
    whole = _joined([pair[0] for pair in pairs])
    if any(not hasattr(one, "shape") for pair in pairs for one in pair):
        return None
    if tuple(pairs[0][0].shape) != tuple(pairs[0][1].shape):
        return None
    values = np.unique(keras.ops.convert_to_numpy(whole))
    if not np.array_equal(values, [0, 1]):
        return None
    random = np.random.default_rng(0)
    size = _length(pairs[0][0])
    index = np.arange(size * len(pairs))
    exchanged = random.choice(index, len(index) // 5, replace=False)
    index[exchanged] = random.permutation(exchanged)
    guess = keras.ops.cast(take(whole, index), pairs[0][1].dtype)
    return [(pair[0], guess[i * size : (i + 1) * size]) for i, pair in enumerate(pairs)]


def _joined(parts: list[Any]) -> Any:
    return keras.tree.map_structure(lambda *leaves: keras.ops.concatenate(leaves, axis=0), *parts)


def _part(whole: Sequence[Any], index: np.ndarray) -> Pair:
    return take(whole[0], index), take(whole[1], index)


def _length(data: Any) -> int:
    return int(keras.tree.flatten(data)[0].shape[0])
