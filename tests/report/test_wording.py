from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from lossproof.findings.finding import Fix, Place
from lossproof.report.wording import fix_text, number, numbers, place, printable, sentence, totals


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8.119, "8.119"),
        (12.744, "12.74"),
        (9.9999, "10.00"),
        (0.99999, "1.000"),
        (0.0001, "0.0001000"),
        (0.00001, "1.000e-05"),
        (0.000099999, "0.0001000"),
        (123456.0, "123456"),
        (999999.9, "1.000e+06"),
        (-0.5, "-0.5000"),
        (0.0, "0"),
        (-0.0, "0"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (np.float32(0.1), "0.1000"),
        (1024, "1024"),
        (10**9, "1000000000"),
        ("as it is", "as it is"),
        (None, "-"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize("value", 10.0 ** np.random.default_rng(0).uniform(-12, 12, 200))
def test_number_keeps_four_digits(value):
    shown = number(float(value))
    assert abs(float(shown) - value) <= 0.5e-3 * value
    digits = shown.partition("e")[0].replace(".", "").lstrip("0")
    assert len(digits) >= 4
    assert len(digits) == 4 or "." not in shown, "only whole numbers have more"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, "0.5"), (1.0, "1"), (100.0, "100"), (18.25, "18.25"), (1e-7, "1e-07"), (1234567.0, "1.235e+06")],
)
def test_trimmed_number(value, shown):
    assert number(value, trim=True) == shown


def test_numbers_of_one_size_share_their_decimals():
    assert numbers([8.119, 12.744, 0.0, 6.8361]) == ["8.119", "12.744", "0.000", "6.836"]
    assert numbers([8.119, math.nan, None, "raises", 3]) == ["8.119", "NaN", "-", "raises", "3"]


def test_numbers_of_other_sizes_keep_their_own():
    assert numbers([8.119, 0.001234]) == ["8.119", "0.001234"]
    assert numbers([8.119, 2e-9, 0.0]) == ["8.119", "2.000e-09", "0"]


@pytest.mark.parametrize("scale", [1e-3, 1e-1, 1.0, 1e2, 1e4])
def test_numbers_lose_nothing(scale):
    values = [float(v) for v in scale * np.random.default_rng(1).uniform(1, 90, 20)]
    shown = numbers(values)
    assert len({Decimal(text).as_tuple().exponent for text in shown}) == 1
    for text, value in zip(shown, values, strict=True):
        assert abs(float(text) - value) <= 0.5e-3 * value


def test_places():
    assert place(Place("train.py", 12)) == "train.py:12"
    assert place(Place("nb.ipynb", 2, cell=3)) == "nb.ipynb cell 3:2"


def test_fix_text():
    assert fix_text(Fix("do it.")) == "do it."
    assert fix_text(Fix("do it.", Place("a.py", 1), "x = 1")) == "At a.py:1: do it.\nx = 1"


@pytest.mark.parametrize(
    ("text", "ended"), [("a b", "A b."), ("a.", "a."), ("A?", "A?"), ("", ""), (" y_true \n", "y_true.")]
)
def test_sentence(text, ended):
    assert sentence(text) == ended


def test_printable_spells_out_what_steers_a_terminal():
    assert printable("a\x1b[31m\x07\x9b\u202e\u2066\u2028\ud800\r") == (
        "a\\x1b[31m\\x07\\x9b\\u202e\\u2066\\u2028\\ud800\\x0d"
    )
    kept = "a\n\tb é e\u0301 日本 👨\u200d👩 שלום \u00a0"
    assert printable(kept) == kept


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("paired", "1 error; 14 rules checked, 1 not applicable"),
        ("many", "2 errors, 1 warning, 1 note; 12 rules checked, 2 not applicable"),
        ("notes-only", "2 notes; 14 rules checked, 1 not applicable"),
        ("crash", "no findings; 14 rules checked, 1 not applicable, 1 crashed"),
        ("exception-unexplained", "no findings; 14 rules checked, 1 not applicable; the script failed"),
    ],
)
def test_totals(every_sample, name, line):
    assert totals(every_sample[name]) == line
