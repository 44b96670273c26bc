"""What a key that names no output can have been meant for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CUTOFF = 0.6
"""What `difflib` calls a close match. It decides only what is tried and suggested: the re-run is the proof."""


@dataclass(frozen=True)
class Meant:
    """The name for which an unknown key stands; None where there is none left. `how` says why."""

    name: str | None
    how: str
    """`layer`: the key is the name of the layer that makes this output. `nearest`: its spelling is the nearest.
    `left`: it is the only name that no other key has. `order`: it stands at the same place. `extra`: none is left."""

    @property
    def sure(self) -> bool:
        """Whether there is a reason for this name and no other."""
        return self.how in ("layer", "nearest", "left")


def meant(keys: Sequence[str], names: Sequence[str], layers: Mapping[str, str] | None = None) -> dict[str, Meant]:
    """For each key that is no name, the name it can only stand for.

    Args:
        keys: The keys of a dict, in the order in which they were written.
        names: The names of the outputs, in the order in which they were declared.
        layers: The name of an output by the name of the layer that makes it.
    """
    unknown = [key for key in keys if key not in names]
    free = [name for name in names if name not in keys]
    found: dict[str, Meant] = {}

    def take(key: str, name: str, how: str) -> None:
        found[key] = Meant(name, how)
        unknown.remove(key)
        free.remove(name)

    for key in list(unknown):
        if layers and layers.get(key) in free:
            take(key, layers[key], "layer")
    nearest = {key: _nearest(key, free) for key in unknown}
    for key, near in nearest.items():
        if near is not None and list(nearest.values()).count(near) == 1:
            take(key, near, "nearest")
    if len(unknown) == len(free):
        how = "left" if len(free) == 1 else "order"
        for key, name in zip(list(unknown), list(free), strict=True):
            take(key, name, how)
    return {**found, **{key: Meant(None, "extra") for key in unknown}}


def _nearest(key: str, names: Sequence[str]) -> str | None:
    """The name that shares a word with the key which no other has; else the nearest in spelling; None if undecided."""
    words = {name: _words(name) for name in names}
    sharing = [
        name
        for name in names
        if (_words(key) & words[name]) - set().union(*(words[other] for other in names if other != name))
    ]
    if len(sharing) == 1:
        return sharing[0]
    ratios = {name: difflib.SequenceMatcher(None, str(key).lower(), str(name).lower()).ratio() for name in names}
    best = max(ratios.values(), default=0.0)
    found = [name for name, ratio in ratios.items() if ratio == best]
    return found[0] if len(found) == 1 and best >= CUTOFF else None


def _words(name: str) -> set[str]:
    return set(re.findall("[a-z]+|[0-9]+", str(name).lower()))
