"""Suggests the nearest of some names, and lists them, for errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, names: Iterable[object]) -> str:
    """`" Did you mean 'rating'?"`, or nothing if no name is near."""
    texts = [str(one) for one in names]
    near = difflib.get_close_matches(str(name), texts, n=1, cutoff=0.6)
    if not near:
        folded = {text.lower(): text for text in reversed(texts)}
        near = [folded[one] for one in difflib.get_close_matches(str(name).lower(), folded, n=1, cutoff=0.6)]
    return f" Did you mean {near[0]!r}?" if near else ""


def listed(names: Iterable[object], none: str = "none") -> str:
    """`'a', 'b'`, or what to say when there are none."""
    return ", ".join(repr(name) for name in names) or none
