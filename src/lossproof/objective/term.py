"""A term of an objective: a function, what its arguments refer to, and its weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import keras

from lossproof.objective.functions import TermFunction, term_function, unserializable_because
from lossproof.objective.nearest import did_you_mean, listed
from lossproof.objective.references import PACKAGE, Output, Reference, Target
from lossproof.objective.serialization import remember, term_arguments, term_config
from lossproof.objective.weights import checked_weight

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight")


@keras.saving.register_keras_serializable(PACKAGE)
class Term:
    """One summand of an objective. It cannot be changed once it is made.

    Args:
        function: What is computed: a function of any arguments, a `keras.losses.Loss`, or a built-in loss by its Keras
            name (`"mse"`). It returns one value per sample or finer, shape (batch, ...), floating point; Keras reduces it
            (mask and sample weights included). A scalar is accepted as long as there are neither sample weights nor a mask.
        output: For terms of `y_true` and `y_pred`: the output that `y_pred` is, by name; the only one by default.
        target: The target that `y_true` is, by name; by default the target named like `output`, else the only one.
        weight: A number, a schedule of the step (any `LearningRateSchedule`, see `lp.schedules`) or a
            `keras.Variable(..., trainable=False)`. Changing weights are logged as "<name>_weight".
        name: What the term is called in logs; the name of its function by default.
        reduction: As in `keras.losses.Loss`: "sum_over_batch_size" (the mean over all values), "sum", "mean" or
            "mean_with_sample_weight". None for that of the Loss given, else the first.
        mask: Whether the masks that Keras keeps on the outputs (from `Embedding(mask_zero=True)`, `Masking`) act on the
            values. Say False for a function that uses the mask itself or reduces over the masked axis.
        sample_weight_of: Where `fit` is given sample weights per target: the target whose weights act on this term. By
            default those of the target that is bound to `y_true`, else of the term's only target; a term without a
            target is then not weighted.
        serializable: False to accept a function that cannot be saved (a lambda, a closure); saving the Trainer then
            fails with the reason, while its weights can still be saved.
        arguments: Arguments of the function whose names are taken by those above, e.g. `{"weight": lp.input("w")}`.
        **bindings: Arguments of the function by parameter name: references (`lp.output("mean")`, ...) or constants, which
            are passed on as they are. A layer or model among them (a teacher, a discriminator) is used in its present
            state and not trained; a `keras.Variable` is trained if it is trainable. A parameter that is neither bound nor
            has a default is looked up by its name among outputs, targets, inputs and layers: one match binds.

    Floating-point tensors reach the function in float32 (`keras.config.floatx()`), as with losses of Keras, also under
    mixed precision; so do targets of any type (see `lp.target(dtype=...)`). Between `y_true` and `y_pred`, and only there,
    a last axis of length 1 is added or dropped where the ranks differ, as Keras does for functions given to `compile`.

    Raises:
        TypeError, ValueError: with what was expected, found, and what to write instead.
    """

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        function: Any,
        *,
        output: str | int | Output | None = None,
        target: str | Target | None = None,
        weight: Any = 1.0,
        name: str | None = None,
        reduction: str | None = None,
        mask: bool = True,
        sample_weight_of: str | None = None,
        serializable: bool = True,
        arguments: Mapping[str, Any] | None = None,
        **bindings: Any,
    ) -> None:
        read = term_function(function)
        bindings = {**read.constants, **bindings, **(arguments or {})}
        # `lp.Term(distill, target=lp.output("teacher"))`: a parameter of the function that is called like one of ours.
        for own, value in (("output", output), ("target", target)):
            if isinstance(value, Reference) and any(one.name == own for one in read.parameters):
                bindings[own] = value
        self._set("function", read)
        self._set("given", function)
        self._set("name", _checked_name(name if name is not None else read.name))
        self._set("output", None if "output" in bindings else _reference(Output, output, "output", self.name))
        self._set("target", None if "target" in bindings else _reference(Target, target, "target", self.name))
        self._set("weight", checked_weight(weight, self.name))
        self._set("reduction", _checked_reduction(reduction, read, self.name))
        self._set("mask", bool(mask))
        self._set("sample_weight_of", sample_weight_of)
        self._set("bindings", dict(bindings))
        self._set("serializable", bool(serializable))
        self._check_bindings()
        if serializable:
            self._check_serializable()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"Term {self.name!r} cannot be changed: a compiled step would go on with the old {name}. Make a new lp.Term, "
            "objective and Trainer; a weight that changes is a schedule or a keras.Variable(..., trainable=False)."
        )

    def _check_bindings(self) -> None:
        read: TermFunction = self.function
        names = [one.name for one in read.parameters] + list(read.constants)
        for name in self.bindings:
            if name not in names and not read.takes_any:
                raise ValueError(
                    f"Term {self.name!r}: {read.name} has no parameter {name!r}; it has {listed(names)}."
                    + did_you_mean(name, names)
                )
        for own in ("output", "target"):
            stands_for = "y_pred" if own == "output" else "y_true"
            if getattr(self, own) is not None and not any(one.name == stands_for for one in read.parameters):
                raise ValueError(
                    f"Term {self.name!r}: {own}= says what {stands_for!r} is, and {read.name} has no such parameter; it has "
                    f"{listed(names)}. Bind them by name: lp.Term({read.name}, {names[0] if names else '...'}=lp.{own}(...))."
                )
            if getattr(self, own) is not None and stands_for in self.bindings:
                raise ValueError(f"Term {self.name!r}: both {own}= and {stands_for}= are given. Keep one of them.")

    def _check_serializable(self) -> None:
        because = unserializable_because(self.function.function) if not self.function.is_loss else None
        if because is None:
            remember(self.function.function)
            return
        raise ValueError(
            f"Term {self.name!r} cannot be saved: its function is {because}. Define it with `def` at the top level of a "
            f"module, with what it closes over as parameters: lp.Term(my_loss, beta=0.5). "
            "If the Trainer need not be saved, say lp.Term(..., serializable=False)."
        )

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same term of; serializable by Keras."""
        return term_config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The term that `get_config` described."""
        return cls(**term_arguments(config))

    def __repr__(self) -> str:
        weight = "" if self.weight == 1.0 else f", weight={self.weight!r}"
        return f"<lp.Term {self.name!r}{weight}>"

    # Read by others; set in __init__.
    function: TermFunction
    given: Any
    name: str
    output: Output | None
    target: Target | None
    weight: Any
    reduction: str
    mask: bool
    sample_weight_of: str | None
    serializable: bool
    bindings: dict[str, Any]


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"The name of a term is a string, found {name!r}.")
    if name == "loss":
        raise ValueError('A term cannot be named "loss": the total is. Give it another: lp.Term(..., name="...").')
    return name


def _reference(cls: type[Any], value: Any, what: str, term: str) -> Any:
    if value is None or isinstance(value, cls):
        return value
    if isinstance(value, Reference):
        raise TypeError(f"Term {term!r}: {what}= takes the name of one {what}, found {value}.")
    from lossproof.objective import references

    return getattr(references, what)(value)


def _checked_reduction(reduction: str | None, read: TermFunction, term: str) -> str:
    own = getattr(read.function, "reduction", None) if read.is_loss else "sum_over_batch_size"
    chosen = reduction if reduction is not None else own
    if chosen not in REDUCTIONS:
        raise ValueError(
            f"The reduction of term {term!r} is {chosen!r}. Expected one of {listed(REDUCTIONS)}: a term becomes one number."
        )
    return str(chosen)
