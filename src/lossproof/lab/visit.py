"""The other process of `elsewhere`: runs the script up to a capture and measures its objective with the given numbers.

`python -m lossproof.lab.visit FOLDER` reads `ask.json` and `given.npz` of the folder, and writes `answer.json` and
`answer.npz` there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lossproof.audit import worth_auditing
from lossproof.capture.loose import loose_captures
from lossproof.capture.script import run_script
from lossproof.capture.watch import Watch
from lossproof.lab.backends import running_backend
from lossproof.lab.elsewhere import PARTS, Measured, measure
from lossproof.lab.lab import Lab
from lossproof.lab.received import Batch, to_tensors
from lossproof.rules.rule import NotApplicable
from lossproof.silence import silence


def main(folder: Path) -> None:
    """Answer what is asked in a folder."""
    ask = json.loads((folder / "ask.json").read_text(encoding="utf-8"))
    if ask["devices"] is not None:
        found = running_backend().settled_devices()  # before the script can ask for another number
        if found != ask["devices"]:
            _answer(folder, {"reason": f"{found} devices were there instead of {ask['devices']}"}, {})
            return
    if ask["distribute"]:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    with Watch(shorten=not ask["full"]) as watch:
        outcome = run_script(Path(ask["script"]), ask["arguments"], patience=None if ask["full"] else 5.0)
    run = watch.run
    run.captures += list(loose_captures(run))
    captures = worth_auditing(run)
    position = ask["position"]
    capture = captures[position] if position < len(captures) else None
    where = capture.where if capture is not None else None
    if capture is None or capture.call != ask["call"] or (where.line if where is not None else None) != ask["line"]:
        error = f": {type(outcome.exception).__name__}: {outcome.exception}" if outcome.exception is not None else ""
        _answer(folder, {"reason": f"the script does not come to the same call{error}"[:300]}, {})
        return
    lab = Lab(capture, run)
    try:
        with np.load(folder / "given.npz") as given, silence(), capture.as_it_was():
            points = [_measured(lab, given, p, ask["devices"] is not None) for p in range(ask["points"])]
    except NotApplicable as reason:
        _answer(folder, {"reason": str(reason)}, {})
        return
    told: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for p, one in enumerate(points):
        arrays |= {f"p{p}_{i}": array for i, array in enumerate(one.predictions)}
        arrays |= {f"g{p}_{i}": array for i, array in enumerate(one.gradients)}
        told.append(
            {
                "total": one.total,
                "losses": one.losses,
                "error": one.error,
                "by_targets": one.by_targets,
                "p": len(one.predictions),
                "g": len(one.gradients),
            }
        )
    _answer(folder, {"points": told}, arrays)


def _measured(lab: Lab, given: Any, point: int, spread: bool) -> Measured:
    model = lab.model.model
    weights = [given[f"w{point}_{i}"] for i in range(sum(name.startswith(f"w{point}_") for name in given.files))]
    if [tuple(v.shape) for v in model.variables] != [array.shape for array in weights]:
        raise NotApplicable("the model has other variables there")
    own = lab.batch
    parts = []
    for part in PARTS:
        leaves = [given[f"{part}_{i}"] for i in range(sum(name.startswith(f"{part}_") for name in given.files))]
        like = getattr(own, part)
        parts.append(to_tensors(keras.tree.pack_sequence_as(like, leaves)) if leaves else None)
    return measure(lab, weights, Batch(*parts), spread)


def _answer(folder: Path, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    np.savez(folder / "answer.npz", allow_pickle=False, **arrays)
    (folder / "answer.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
