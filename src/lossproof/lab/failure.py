"""An exception in a few words."""

from __future__ import annotations

LONGEST = 120


def in_words(error: BaseException | None) -> str:
    """The type and the first sentence of an exception: `KeyError: The path ('age',) can't be found`."""
    told = error.args[0] if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str) else error
    lines = str(told).strip().splitlines()
    text = lines[0].partition(". ")[0].rstrip(" .:") if lines else ""
    if len(text) > LONGEST:
        text = text[:LONGEST].rstrip() + " ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
