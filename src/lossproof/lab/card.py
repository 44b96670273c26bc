"""The card of an objective: what each loss received, weights, regularization, which variables get a gradient."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.subject import Subject
from lossproof.lab.subjects import of_the_user
from lossproof.lab.weight_gradients import weight_gradients
from lossproof.report.report import CaptureCard, TensorCard, TermCard
from lossproof.rules.rule import NotApplicable


def card_of(lab: Lab) -> CaptureCard:
    """What is worth saying of a captured objective. What cannot be had is left out and said in `unseen`."""
    capture = lab.capture
    unseen: list[str] = []
    terms: list[TermCard] = []
    regularization = total = None
    got = trainable = None
    without: tuple[str, ...] = ()
    try:
        terms = [term_card(lab, subject) for subject in of_the_user(lab.subjects)]
        regularization = sum(lab.forward_losses) if lab.forward_losses else None
        total = lab.total
        gradients = lab.once(weight_gradients)
        trainable = len(gradients)
        without = tuple(v.path for v, g in zip(lab.model.trainable, gradients, strict=True) if g is None or not g.any())
        got = trainable - len(without)
    except NotApplicable as reason:
        unseen.append(str(reason))
    except Exception as error:  # the user's code cannot be evaluated: the findings say why, the card that it is so
        unseen.append(f"the objective cannot be evaluated: {type(error).__name__}: {str(error).splitlines()[0][:120]}")
    return CaptureCard(
        id=capture.id,
        call=capture.call,
        where=capture.where,
        model=getattr(capture.model, "name", "no model"),
        terms=tuple(terms),
        regularization=regularization,
        total=total,
        weights_with_gradient=got,
        weights_trainable=trainable,
        weights_without_gradient=without,
        steps=capture.steps,
        shortened=capture.shortened,
        unseen=tuple(unseen),
    )


def term_card(lab: Lab, subject: Subject) -> TermCard:
    """One term with what it received on the captured batch."""
    weight = subject.sample_weight
    return TermCard(
        name=subject.name,
        output=subject.output,
        loss=subject.name,
        targets=tensor_cards(lab, "y_true", subject.y_true),
        predictions=tensor_cards(lab, "y_pred", subject.y_pred),
        weight=subject.weight,
        sample_weight=next(iter(tensor_cards(lab, "sample_weight", weight)), None),
        value=lab.attempt(lambda: lab.value(subject)),
    )


def tensor_cards(lab: Lab, name: str, data: Any) -> tuple[TensorCard, ...]:
    """A card for each tensor of nested data."""
    leaves = [leaf for leaf in keras.tree.flatten(data) if hasattr(leaf, "shape")]
    cards = []
    for i, leaf in enumerate(leaves):
        values = lab.number(leaf)
        finite = values[np.isfinite(values)] if values.dtype.kind in "fiu" else np.array([])
        cards.append(
            TensorCard(
                name=name if len(leaves) == 1 else f"{name}[{i}]",
                shape=tuple(leaf.shape),
                dtype=keras.backend.standardize_dtype(leaf.dtype),
                low=float(finite.min()) if finite.size else None,
                high=float(finite.max()) if finite.size else None,
            )
        )
    return tuple(cards)
