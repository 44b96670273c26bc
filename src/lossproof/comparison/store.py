"""Recordings in files: what is no array as JSON, the arrays beside it in an `.npz`. Nothing in them is executed."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossproof.comparison.recording import Optimizer, Point, Recording, Step, Training, Variable
from lossproof.comparison.transplant import Transplant

_CLASSES = {one.__name__: one for one in (Recording, Training, Variable, Optimizer, Point, Step, Transplant)}


def write(value: Any, folder: Path, name: str) -> None:
    """Write a recording (or nested data with one) as `name.json` and `name.npz` into a folder."""
    arrays: list[np.ndarray] = []
    (folder / f"{name}.json").write_text(json.dumps(_encoded(value, arrays)), encoding="utf-8")
    np.savez(folder / f"{name}.npz", *arrays)


def read(folder: Path, name: str) -> Any:
    """What `write` wrote.

    Raises:
        OSError: There is no such file.
    """
    content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        return _decoded(content, [arrays[f"arr_{k}"] for k in range(len(arrays.files))])


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        arrays.append(value if value.dtype.kind in "biufcSU" else value.astype("float32"))
        return {"@": "array", "k": len(arrays) - 1}
    if is_dataclass(value):
        return {"@": type(value).__name__, **{f.name: _encoded(getattr(value, f.name), arrays) for f in fields(value)}}
    if isinstance(value, tuple):
        return {"@": "tuple", "v": [_encoded(one, arrays) for one in value]}
    if isinstance(value, list):
        return [_encoded(one, arrays) for one in value]
    if isinstance(value, dict):
        return {"@": "dict", "v": [[_encoded(k, arrays), _encoded(v, arrays)] for k, v in value.items()]}
    return repr(value)


def _decoded(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decoded(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    kind = value["@"]
    if kind == "array":
        return arrays[value["k"]]
    if kind == "tuple":
        return tuple(_decoded(one, arrays) for one in value["v"])
    if kind == "dict":
        return {_decoded(k, arrays): _decoded(v, arrays) for k, v in value["v"]}
    return _CLASSES[kind](**{key: _decoded(one, arrays) for key, one in value.items() if key != "@"})
