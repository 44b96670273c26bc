"""Where two trainings part first, in the order of cause and effect. Free of any backend."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from lossproof.comparison.gaps import EPSILON, distance, epsilon_of, gaps, most, range_text, scale, short
from lossproof.comparison.recording import Training, parts_of, sampled

STAGES = ("model", "weights", "batches", "predictions", "loss", "gradient", "step", "later")
"""In the order of cause and effect: `step` is what the first step reports and does, `later` the same of further ones."""

LAST_PLACES = 64.0
"""By how many units in the last place (of float32), or how many times the measured noise, two numbers may differ."""
OF_UPDATE = 1e-3
"""An update may differ by this share of the largest one of its variable: Adam divides by the gradient's size, so that
its rounding errors weigh more than those of the gradient."""


@dataclass(frozen=True)
class Row:
    """One measurement of both runs."""

    label: str
    a: str
    b: str


@dataclass(frozen=True)
class Difference:
    """The first stage at which two trainings differ."""

    stage: str
    what: str
    """In words, after "the": `initial weights of dense/kernel`."""
    size: float
    """By how much: the largest absolute difference, or the number of rows that differ."""
    tolerance: float
    unit: str
    rows: tuple[Row, ...] = ()
    order_only: bool = False
    """Of batches: whether both hold the same rows in another order."""
    step: int = 1
    """The step (from 1) at which it shows."""
    within: int = 0
    """Its place among what a step reports and does."""

    @property
    def rank(self) -> tuple[int, int, int]:
        """Its place in the order of cause and effect: what a later step gets may be made of what an earlier one did."""
        return self.step, STAGES.index(self.stage), self.within


def first_difference(a: Training, b: Training) -> Difference | None:
    """The first stage at which B differs from A by more than rounding explains; None if there is none."""
    for look in (_model, _weights, partial(_batch, k=0), _predictions, _loss, _gradient):
        found = look(a, b)
        if found is not None:
            return found
    most = max(min(len(a.batches), len(b.batches)), min(len(a.steps), len(b.steps)))
    seen = ((_batch(a, b, k) if k else None) or _step(a, b, k + 1) for k in range(most))
    return next((found for found in seen if found is not None), None)


def _model(a: Training, b: Training) -> Difference | None:
    shapes = [[v.value.shape for v in one.variables if v.kind != "seed"] for one in (a, b)]
    if shapes[0] == shapes[1]:
        return _trainable(a, b)
    count = [sum(int(np.prod(s)) for s in one) for one in shapes]
    rows = (
        Row("variables", str(len(shapes[0])), str(len(shapes[1]))),
        Row("numbers in them", str(count[0]), str(count[1])),
    )
    return Difference(
        "model", "models: their variables have other shapes", abs(count[0] - count[1]), 0.0, "numbers", rows
    )


def _trainable(a: Training, b: Training) -> Difference | None:
    kinds = [[v.kind for v in _unseeded(one)] for one in (a, b)]
    if kinds[0] == kinds[1]:
        return None
    differing = [v.path for v, x, y in zip(_unseeded(a), *kinds, strict=True) if x != y]
    rows = (
        Row("trainable", *(f"{one.count('trainable')} of {len(one)}" for one in kinds)),
        Row("such as", differing[0], ""),
    )
    return Difference("model", "models: other weights are trainable", len(differing), 0.0, "variables", rows)


def _weights(a: Training, b: Training) -> Difference | None:
    pairs = [(x, y) for x, y in zip(_unseeded(a), _unseeded(b), strict=True)]
    worst, names, allowed_there = 0.0, [], 0.0
    for x, y in pairs:
        allowed = 4.0 * epsilon_of(x.value) * scale(x.value)
        apart = distance(x.value, y.value)
        if apart > allowed:
            names.append(x.path)
            if apart > worst:
                worst, allowed_there = apart, allowed
    if not names:
        return None
    rows = [
        Row(
            "variables that differ",
            f"{len(names)} of {len(pairs)}",
            ", ".join(names[:3]) + (" ..." if len(names) > 3 else ""),
        )
    ]
    for label, side in (("trained before by A", a), ("trained before by B", b)):
        by = sorted({place for v in side.variables for place in v.trained_by})
        if by:
            rows.append(Row(label, ", ".join(by), ""))
    return Difference("weights", "initial weights", worst, allowed_there, "largest difference", tuple(rows))


def _unseeded(one: Training) -> list:  # type: ignore[type-arg]
    return [v for v in one.variables if v.kind != "seed"]


def _batch(a: Training, b: Training, k: int) -> Difference | None:
    if k >= min(len(a.batches), len(b.batches)):
        return None
    left, right = parts_of(a.batches[k]), parts_of(b.batches[k])
    names = [[name for name, _ in side] for side in (left, right)]
    if names[0] != names[1]:
        rows = (Row("arrays", ", ".join(names[0]), ", ".join(names[1])),)
        return Difference("batches", f"arrays of batch {k + 1}", 1.0, 0.0, "", rows, step=k + 1)
    for (name, one), (_, two) in zip(left, right, strict=True):
        if one.shape != two.shape or one.dtype != two.dtype:
            rows = (Row(name, f"{one.shape} {one.dtype}", f"{two.shape} {two.dtype}"),)
            return Difference("batches", f"form of {name} in batch {k + 1}", 1.0, 0.0, "", rows, step=k + 1)
        if distance(one, two) > 4.0 * epsilon_of(one) * scale(one):
            return _other_rows(a, b, k, name, one, two)
    return None


def _other_rows(a: Training, b: Training, k: int, name: str, one: np.ndarray, two: np.ndarray) -> Difference:
    order = _same_rows(a, b)
    different = int(np.sum([distance(p, q) > 0 for p, q in zip(one, two, strict=True)])) if one.ndim else 1
    rows = [Row(f"first row of {name}", short(one), short(two)), Row("range", range_text(one), range_text(two))]
    what = f"order of the rows: batch {k + 1} holds others" if order else f"values of {name} in batch {k + 1}"
    return Difference("batches", what, float(different), 0.0, "rows differ", tuple(rows), order_only=order, step=k + 1)


def _same_rows(a: Training, b: Training) -> bool:
    """Whether the data of both hold the same rows."""
    if a.rows is not None and b.rows is not None:
        return len(a.rows) == len(b.rows) and Counter(a.rows.tolist()) == Counter(b.rows.tolist())
    counts = []
    for side in (a, b):
        rows: Counter[bytes] = Counter()
        for batch in side.batches:
            arrays = [array for _, array in parts_of(batch) if array.ndim]
            for k in range(min((len(array) for array in arrays), default=0)):
                rows[b"".join(np.ascontiguousarray(array[k]).tobytes() for array in arrays)] += 1
        counts.append(rows)
    return counts[0] == counts[1]


def _predictions(a: Training, b: Training) -> Difference | None:
    if a.point is None or b.point is None:
        return None
    for k, (one, two) in enumerate(zip(a.point.predictions, b.point.predictions, strict=False)):
        noise = max(most(a.point.predictions_noise[k]), most(b.point.predictions_noise[k]))
        allowed = LAST_PLACES * (noise + EPSILON * scale(one))
        apart = distance(one, two) if one.shape == two.shape else np.inf
        if apart > allowed:
            rows = (Row("range of the predictions", range_text(one), range_text(two)),)
            return Difference("predictions", "predictions at equal weights", apart, allowed, "largest difference", rows)
    return None


def _loss(a: Training, b: Training) -> Difference | None:
    if a.point is None or b.point is None:
        return None
    one, two = a.point.loss, b.point.loss
    allowed = LAST_PLACES * (_loss_noise(a, b) + EPSILON * scale(np.array(one)))
    apart = distance(np.array(one), np.array(two))
    if apart <= allowed:
        return None
    rows = (Row("loss", f"{one:.7g}", f"{two:.7g}"), Row("computed by", a.objective, b.objective))
    return Difference("loss", "loss value at equal weights", apart, allowed, "difference", rows)


def _gradient(a: Training, b: Training) -> Difference | None:
    if a.point is None or b.point is None:
        return None
    paths = [v.path for v in a.of_kind("trainable")]
    worst: Difference | None = None
    for k, (one, two) in enumerate(zip(a.point.gradients, b.point.gradients, strict=False)):
        if one is None and two is None:
            continue
        filled = [np.zeros_like(two if one is None else one) if g is None else g for g in (one, two)]
        noises = [n for n in (a.point.gradients_noise[k], b.point.gradients_noise[k]) if n is not None]
        noise = np.nan_to_num(np.max(noises, axis=0), nan=0.0, posinf=0.0)
        allowed = LAST_PLACES * (noise + EPSILON * scale(filled[0]))
        over = gaps(*filled) - allowed
        if np.max(over, initial=-1.0) > 0 and (worst is None or distance(*filled) > worst.size):
            norms = ["no gradient" if g is None else f"{np.linalg.norm(g):.6g}" for g in (one, two)]
            rows = (Row("variable", paths[k], ""), Row("norm", *norms), Row("computed by", a.objective, b.objective))
            size, bound = distance(*filled), float(np.max(allowed, initial=0.0))
            worst = Difference("gradient", "gradient at equal weights", size, bound, "largest difference", rows)
    return worst


def _step(a: Training, b: Training, k: int) -> Difference | None:
    if k > min(len(a.steps), len(b.steps)):
        return None
    one, two = a.steps[k - 1], b.steps[k - 1]
    stage = "step" if k == 1 else "later"
    growth = 1.0 if k == 1 else np.sqrt(1.0 / EPSILON) / LAST_PLACES  # rounding errors grow from step to step
    if one.loss is not None and two.loss is not None:
        allowed = growth * LAST_PLACES * (_loss_noise(a, b) + EPSILON * scale(np.array(one.loss)))
        apart = distance(np.array(one.loss), np.array(two.loss))
        if apart > allowed:
            rows = (Row(f"loss after step {k}", f"{one.loss:.7g}", f"{two.loss:.7g}"), Row("mode", a.mode, b.mode))
            return Difference(stage, f"loss that step {k} reports", apart, allowed, "difference", rows, step=k)
    return _update(a, b, k, stage)


def _loss_noise(a: Training, b: Training) -> float:
    """By how much the loss moves with the last place; nothing where it is not finite."""
    return most(np.array([side.point.loss_noise for side in (a, b) if side.point is not None] or [0.0]))


def _update(a: Training, b: Training, k: int, stage: str) -> Difference | None:
    before = [_start(side) if k == 1 else side.steps[k - 2].weights for side in (a, b)]
    worst: Difference | None = None
    for j, variable in enumerate(a.of_kind("trainable")):
        pair = [side.steps[k - 1].weights[j] for side in (a, b)]
        updates = [after - start[j] for after, start in zip(pair, before, strict=True)]
        largest = max(scale(update) for update in updates)
        share = OF_UPDATE if k == 1 else 10 * OF_UPDATE
        allowed = 16.0 * EPSILON * scale(pair[0]) + share * largest
        gap = np.where(_blurred(a, b, j, updates[0].shape), 0.0, gaps(*updates))
        size = float(np.max(gap, initial=0.0))
        if size > allowed and (worst is None or size > worst.size):
            rows = [Row("variable", variable.path, "")]
            rows.append(Row("largest change", *(f"{scale(update):.6g}" for update in updates)))
            rows += [Row("optimizer", *(_named(side) for side in (a, b))), Row("mode", a.mode, b.mode)]
            what = f"change of the weights in step {k}"
            worst = Difference(stage, what, size, allowed, "largest difference", tuple(rows), step=k, within=1)
    return worst


def _start(side: Training) -> list[np.ndarray]:
    return [sampled(v.value) for v in side.of_kind("trainable")]


def _blurred(a: Training, b: Training, j: int, shape: tuple[int, ...]) -> np.ndarray:
    """The entries whose gradient is no more than noise, of which an optimizer may make anything."""
    blurred = np.zeros(shape, dtype=bool)
    for point in (a.point, b.point):
        gradient, noise = (point.gradients[j], point.gradients_noise[j]) if point is not None else (None, None)
        if gradient is not None and noise is not None and gradient.shape == shape:
            tiny = LAST_PLACES * (noise + EPSILON * EPSILON * scale(gradient))
            blurred |= (np.abs(gradient) <= tiny) & (gradient != 0.0)
    return blurred


def _named(side: Training) -> str:
    return side.optimizer.name if side.optimizer is not None else "none"
