"""Why the bar of `fit`, or `evaluate`, shows another number than the account: each reason with both numbers, measured."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import in_memory
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.received import Batch, as_batch
from lossproof.lab.rehearsal import Rehearsal, rehearse
from lossproof.lab.replace import replaced
from lossproof.ledger.account import account, account_total
from lossproof.ledger.entry import TOLERANCE, Entry
from lossproof.objective.trainer import Trainer

SECONDS = 2.0
"""After this long no further layer is tried."""
MOST_BATCHES = 64
"""Of an epoch that is rehearsed."""


@dataclass(frozen=True)
class Reason:
    """One reason why two numbers differ that a user may expect to be the same."""

    name: str
    text: str
    numbers: tuple[tuple[str, float], ...]
    """The numbers with what each is; the one of the account, or nearest to it, comes first."""


def reasons(
    lab: Lab, entry: Entry, tested: Entry | None, reported: float | None, evaluated: float | None
) -> list[Reason]:
    """What applies to a captured batch.

    Args:
        lab: The laboratory.
        entry: The account in training mode.
        tested: The account of the same batch in inference mode; None where it cannot be had.
        reported: The loss that Keras reports of a training step on the batch.
        evaluated: The loss that a step of `evaluate` reports of the batch; None where class weights are left out of it.
    """
    shows_penalties = isinstance(lab.capture.model, Trainer)  # as "regularization" and "weighting_rest"
    dropped = list(_dropped(lab, entry))
    found = [
        *dropped,
        *_parts(entry, bool(dropped), shows_penalties),
        *_weights(entry),
        *_mode(lab, entry, tested, evaluated),
    ]
    epoch = _epoch(lab)
    if epoch is not None:
        found += _averages(*epoch)
    if reported is not None and differs(reported, entry.total, terms=1024):
        text = "The step reports a loss of its own making, not the one that it minimises."
        found.append(Reason("report", text, (("what is minimised", entry.total), ("reported as loss", reported))))
    if evaluated is not None and tested is not None and differs(evaluated, tested.total, terms=1024):
        text = "evaluate reports another loss than the one that the model has on this batch in inference mode."
        numbers = (("loss in inference mode", tested.total), ("reported as loss", evaluated))
        found.append(Reason("report of evaluate", text, numbers))
    elif evaluated is not None and tested is not None and abs(evaluated - tested.total) > TOLERANCE * tested.magnitude:
        text = "evaluate reports it to the rounding of float32: its compiled step adds in another order."
        numbers = (("loss in inference mode", tested.total), ("reported as loss", evaluated))
        found.append(Reason("report of evaluate", text, numbers))
    return found


def _dropped(lab: Lab, entry: Entry) -> Iterator[Reason]:
    compiled = keras_private.flat_losses(lab.capture.model)
    if lab.overrides_compute_loss or lab.overrides_train_step or len(compiled) != len(entry.terms):
        return
    weights = [1.0 if one[2] is None else float(np.asarray(lab.number(one[2]))) for one in compiled]
    lost = [(term, weight) for term, weight in zip(entry.terms, weights, strict=True) if weight and not term.weight]
    if lost:
        yield Reason(
            "dropped losses",
            f"compile was given {len(compiled)} losses, and {', '.join(term.loss for term, _ in lost)} does not count: of a "
            "list of losses on one output Keras trains the first alone (lossproof explain LP412).",
            (("what is minimised", entry.total), ("with all", entry.total + sum(t.value * w for t, w in lost))),
        )


def _parts(entry: Entry, one_output: bool, shows_penalties: bool) -> Iterator[Reason]:
    outputs = [term for term in entry.terms if term.output is not None]
    shown = sum(term.value for term in outputs)
    if not one_output and len(outputs) > 1 and any(term.weight != 1.0 for term in outputs):
        names = ", ".join(f"{term.output}_loss" for term in outputs)
        yield Reason(
            "unweighted outputs",
            f"The bar shows each output before its loss weight ({names}): they do not add up to the loss.",
            (
                ("the outputs with their weights", sum(term.contribution for term in outputs)),
                ("the outputs as the bar shows them", shown),
            ),
        )
    penalties = sum(one.contribution for one in entry.penalties)
    if entry.penalties and penalties and not shows_penalties:
        yield Reason(
            "regularization",
            "The bar's loss holds regularization and added losses, for which it shows no number of their own.",
            (("loss with them", entry.total), ("without", entry.total - penalties)),
        )


def _weights(entry: Entry) -> Iterator[Reason]:
    weighted = [term for term in entry.terms if term.weights is not None and term.raw is not None]
    if not weighted or any(term.reduction != "sum_over_batch_size" for term in weighted):
        return
    plain = sum(
        term.weight * ((term.raw if term.masked is None else term.masked) or 0.0) - term.contribution
        for term in weighted
    )
    by_class = weighted[0].weights == "class_weight"
    text = (
        "class_weight acts in fit alone: evaluate, the validation and metrics do not know it."
        if by_class
        else "Sample weights act on the loss and on weighted_metrics, not on metrics, nor on data evaluated without them."
    )
    name = "class weights" if by_class else "sample weights"
    yield Reason(name, text, ((f"loss with the {name}", entry.total), ("without", entry.total + plain)))


def _mode(lab: Lab, entry: Entry, tested: Entry | None, evaluated: float | None) -> Iterator[Reason]:
    number = tested.total if tested is not None else evaluated
    if number is None or not differs(number, entry.total, terms=1024):
        return
    names = [layer.name for layer in _sensitive(lab)] if tested is not None else []
    who = f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else ""
    yield Reason(
        "training mode",
        f"fit runs the model in training mode, evaluate and the validation in inference mode: dropout, batch "
        f"normalization and the like work otherwise there{who}. Same batch, same weights:",
        (("in training mode", entry.total), ("in inference mode", number)),
    )


def _sensitive(lab: Lab) -> list[Any]:
    """The layers whose mode moves the total, each put into inference mode by itself."""
    from lossproof.lab.wiring.training_flag import sensitive

    found, began = [], time.perf_counter()
    with suppress(Exception):  # a layer may call itself in a way that cannot be told its mode
        start = account_total(lab)
        for layer in sensitive(lab.capture.model):
            with replaced(layer, "call", _in_inference):
                if account_total(lab) != start:
                    found.append(layer)
            if time.perf_counter() - began > SECONDS:
                break
    return found


def _in_inference(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def called(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **{**kwargs, "training": False})

    return called


# Over an epoch ----------------------------------------------------------------------------------------------------


def _epoch(lab: Lab) -> tuple[Rehearsal, bool] | None:
    """An epoch of the data that were given, and whether it is whole; None where the data are one batch, or cannot be
    read again, or the user's own step does not report as Keras's does."""
    if lab.overrides_train_step or lab.overrides("test_step") or lab.capture.model.optimizer is None:
        return None
    data = lab.capture.data
    if not in_memory(data.get("x"), data.get("y")) and not _readable_again(data.get("x")):
        return None
    with suppress(Exception):  # a user's data or step may refuse; then there is no epoch to tell of
        batches = _batches(data)
        if len(batches) < 2:
            return None
        unweighted = batches if data.get("class_weight") is None else _batches({**data, "class_weight": None})
        rehearsal = rehearse(lab, batches[:MOST_BATCHES], unweighted[:MOST_BATCHES])
        if len(rehearsal.losses) >= 2 and np.isfinite([*rehearsal.losses, rehearsal.evaluated]).all():
            return rehearsal, len(rehearsal.losses) == len(batches)
    return None


def _batches(data: dict[str, Any]) -> list[Batch]:
    return [as_batch(items) for items in islice(keras_private.epoch_data(data), MOST_BATCHES + 1)]


def _readable_again(x: Any) -> bool:
    return not hasattr(x, "__next__")


def _averages(epoch: Rehearsal, whole: bool) -> Iterator[Reason]:
    count = len(epoch.losses)
    which = f"an epoch of {count} batches" if whole else f"the first {count} batches of an epoch"
    rehearsed = f"Rehearsed on {which} in the order of the data"
    yield Reason(
        "running average",
        "The bar shows the mean over all batches since the epoch began, while the weights moved on. "
        f"{rehearsed}, at the last of them:",
        (("loss of that batch", epoch.losses[-1]), ("the bar at that batch", epoch.average)),
    )
    if len(set(epoch.rows)) > 1:
        yield Reason(
            "last partial batch",
            f"Each batch counts as often as it has rows: the last of {count} has {epoch.rows[-1]} instead of "
            f"{epoch.rows[0]}. The loss of the epoch is no plain mean over batches:",
            (
                ("weighted by rows, as in the bar", epoch.average),
                ("plain mean over batches", float(np.mean(epoch.losses))),
            ),
        )
    yield Reason(
        "evaluate against training",
        "The training loss is an average over the epoch, in training mode, at weights that were still moving; evaluate "
        f"looks back on the same rows from the weights at its end. {rehearsed}:",
        (("training loss of the epoch", epoch.average), ("evaluate after it", epoch.evaluated)),
    )


def tested_account(lab: Lab) -> Entry | None:
    """The account as `evaluate` runs the model; None where the user's own `test_step` hides it."""
    if lab.overrides("test_step"):
        return None
    with suppress(Exception):
        return account(lab, training=False)
    return None
