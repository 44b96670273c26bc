"""An objective: terms, and how their values become one loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import keras

from lossproof.objective.nearest import listed
from lossproof.objective.references import PACKAGE
from lossproof.objective.serialization import term_config
from lossproof.objective.term import Term
from lossproof.objective.weighting.base import Weighting


@keras.saving.register_keras_serializable(PACKAGE)
class Objective:
    """The sum of some terms, each times its weight; or what a weighting strategy makes of them.

    Args:
        terms: `lp.Term`s, at least one, of distinct names. A built-in loss may be given by its Keras name.
        weighting: A strategy of `lp.weighting` for all terms, or None for the weighted sum. It belongs to this objective.

    Raises:
        TypeError, ValueError: no terms, terms that are none, or two of one name.
    """

    def __init__(self, terms: Sequence[Any], weighting: Any = None) -> None:
        if isinstance(terms, (Term, str)):
            raise TypeError("lp.Objective takes a list of terms: lp.Objective([term]).")
        self.terms = tuple(Term(one) if isinstance(one, str) else one for one in terms)
        if not self.terms:
            raise ValueError("lp.Objective has no terms. Expected at least one: lp.Objective([lp.Term('mse')]).")
        for one in self.terms:
            if not isinstance(one, Term):
                raise TypeError(
                    f"lp.Objective takes lp.Terms, found {type(one).__name__}: {one!r}. "
                    f"Write lp.Term({getattr(one, '__name__', '...')}, ...)."
                )
        _check_names(self.names)
        if weighting is not None and not isinstance(weighting, Weighting):
            given = f"{weighting.__name__}, the class" if isinstance(weighting, type) else repr(weighting)
            raise TypeError(f"weighting= takes a strategy such as lp.weighting.Uncertainty(), found {given}.")
        self.weighting = weighting

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms, in their order."""
        return tuple(one.name for one in self.terms)

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    def __repr__(self) -> str:
        return f"<lp.Objective of {listed(self.names)}>"

    def get_config(self, model: Any = None) -> dict[str, Any]:
        """What `from_config` makes the same objective of; serializable by Keras.

        Args:
            model: The model whose layers the terms refer to, where they do so by layer or tensor and not by name.
        """
        return {
            "terms": [term_config(one, model) for one in self.terms],
            "weighting": keras.saving.serialize_keras_object(self.weighting),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The objective that `get_config` described."""
        weighting = keras.saving.deserialize_keras_object(config["weighting"])
        return cls([Term.from_config(one) for one in config["terms"]], weighting=weighting)


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Two terms are named {name!r}, and their logs would be one. Give one of them another name: "
                f'lp.Term(..., name="{name}_2").'
            )
        for ending in ("_weight", "_contribution"):
            if name.endswith(ending) and name.removesuffix(ending) in names:
                raise ValueError(
                    f"The term {name!r} has the name of a log of the term {name.removesuffix(ending)!r}. Give it another."
                )
