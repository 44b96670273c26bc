"""Whether a loss that the script assigns to the model, instead of compiling it, is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossproof.lab.evaluation import evaluate
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs

TERMS = 1024
"""Numbers in a sum of losses, for its rounding."""


@dataclass(frozen=True)
class Ignored:
    """What was assigned is read by nobody, and would make another objective."""

    trained: float
    """The objective."""
    assigned: float
    """The same, compiled with what was assigned."""


def ignored(lab: Lab) -> Ignored | None:
    """The proof that an assignment to `model.loss` or `model.loss_weights` changes nothing; None where it does.

    Raises:
        NotApplicable: The user's own step does not use the compiled losses.
    """
    found = lab.capture.reassigned
    if found is None:
        return None
    before = lab.compiled.attempt(with_metrics=False)
    after = lab.compiled.attempt(with_metrics=False, **{found.name: _plain(found.assigned)})
    if before is None or after is None or not differs(before.total, after.total, "float32", TERMS):
        return None
    if _read(lab, found.name):
        return None
    return Ignored(before.total, after.total)


def _plain(value: Any) -> Any:
    """What was assigned, as `compile` would be given it: attributes of a model become containers of Keras's own."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _read(lab: Lab, name: str) -> bool:
    """Whether code of the user's reads the attribute: with something in it that is no loss, the objective fails or moves."""
    own = vars(lab.capture.model)
    before = own[name]
    own[name] = object()
    try:
        total = evaluate(lab.model, lab.batch, lab.overrides_train_step).total
    except Exception:  # whatever the user's code makes of it
        return True
    finally:
        own[name] = before
    return differs(total, lab.total, "float32", TERMS)
