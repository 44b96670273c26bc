"""An exception in a few words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lossproof.rules.rule import NotApplicable

LONGEST = 120
SHORTEST = 20
"""Letters that two messages must share to tell of the same failure, where they are not the same."""

_NODE = re.compile(r"\{\{.*?\}\}\s*")
"""Where TensorFlow says which operation of its graph failed."""


def in_words(error: BaseException | None) -> str:
    """The type and the first sentence of an exception: `KeyError: The path ('age',) can't be found`."""
    told = error.args[0] if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str) else error
    lines = _NODE.sub("", str(told)).strip().splitlines()
    text = lines[0].partition(". ")[0].rstrip(" .:") if lines else ""
    if len(text) > LONGEST:
        text = text[:LONGEST].rstrip() + " ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def same_failure(a: BaseException | None, b: BaseException | None) -> bool:
    """Whether two exceptions tell of the same failure.

    TensorFlow's compiled step wraps the message that the same operation gives when it runs by itself ("Graph execution
    error: ...").
    """
    if type(a) is not type(b):
        return False
    if in_words(a) == in_words(b):
        return True
    told = [in_words(one).partition(": ")[2] for one in (a, b)]
    return any(len(one) >= SHORTEST and one in str(other) for one, other in zip(told, (b, a), strict=True))


@contextmanager
def needed(what: str) -> Iterator[None]:
    """Turns whatever the user's code raises into the reason why a rule cannot be applied.

    Args:
        what: What is tried, as the beginning of the reason: "the gradient cannot be computed".

    Raises:
        NotApplicable: Instead of any other exception.
    """
    try:
        yield
    except NotApplicable:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise NotApplicable(f"{what}: {type(error).__name__}: {lines[0][:160] if lines else 'no message'}") from error
