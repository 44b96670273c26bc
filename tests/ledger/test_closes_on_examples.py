"""The account closes on the examples, whatever is wrong with their losses."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import lossproof as lp

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "x", "y"), [("broadcast_pairs.py", "days", "sales"), ("weighted_targets.py", "bands", "targets")]
)
def test_it_closes(name: str, x: str, y: str) -> None:
    script = runpy.run_path(str(EXAMPLES / name))
    explanation = lp.explain(script["model"], script[x][:48], script[y][:48])
    assert explanation.closes
    reported = script["model"].train_on_batch(script[x][:48], script[y][:48], return_dict=True)["loss"]
    assert explanation.entry.explained == pytest.approx(float(reported), rel=1e-5)
