"""JSON, SARIF and workflow commands: what other programs read."""

from __future__ import annotations

import enum
import json
import math
import re
from collections import OrderedDict, UserDict
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pytest

from lossproof.findings.finding import Severity
from lossproof.report.github import to_github
from lossproof.report.json import plain, to_json
from lossproof.report.sarif import to_sarif

HOSTILE = "a,b:c%0A%\r\n::error::[red]\x1b[31m\u202e\"\\\ud800' é"


def strict(text: str) -> dict:
    """Parsed as RFC 8259 says: no NaN, no infinities, no key twice."""

    def unknown(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    def once(pairs: list[tuple[str, object]]) -> dict:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=unknown, object_pairs_hook=once)


def keys(value: object) -> object:
    """The shape of a JSON value: its keys, and those of the first element of each list."""
    if isinstance(value, dict):
        return {key: keys(v) for key, v in value.items()}
    if isinstance(value, list):
        return [keys(v) for v in value[:1]]
    return None


def test_json_is_one_line_of_ascii_that_starts_with_the_version(sample, poisoned):
    for report in (sample[1], poisoned(sample[1], HOSTILE)):
        text = to_json(report)
        assert text.startswith('{"version": 1, ')
        assert text.isascii()
        assert "\n" not in text
        strict(text)


def test_json_has_the_documented_keys(paired):
    where = dict.fromkeys(("file", "line", "column", "end_column", "expression"))
    tensor = dict.fromkeys(("name", "shape", "dtype", "low", "high"))
    report = replace(paired, checked=("LP101",), skipped={"LP701": "one replica"})
    data = strict(to_json(report))
    card = data["captures"][0]
    for part in card["terms"][0]["targets"][0], card["terms"][0]["predictions"][0]:
        part["shape"] = None
    assert keys(data) == {
        "version": None,
        "script": None,
        "backend": None,
        "keras": None,
        "captures": [
            {
                "id": None,
                "call": None,
                "where": where,
                "model": None,
                "terms": [
                    dict.fromkeys(("name", "output", "loss", "weight", "sample_weight", "value"))
                    | {"targets": [tensor], "predictions": [tensor]}
                ],
                "regularization": None,
                "total": None,
                "weights_with_gradient": None,
                "weights_trainable": None,
                "weights_without_gradient": [],
                "steps": None,
                "shortened": None,
                "unseen": [],
            }
        ],
        "findings": [
            {
                "code": None,
                "name": None,
                "severity": None,
                "capture": None,
                "title": None,
                "explanation": None,
                "measured": None,
                "where": where | {"scope": None},
                "evidence": {"y_true": [None], "y_pred": [None], "result": [None]},
                "counterfactual": {
                    "change": None,
                    "before": None,
                    "after": None,
                    "label": None,
                    "columns": [None],
                    "rows": [dict.fromkeys(("label", "before", "after", "remark"))],
                },
                "fix": None,
                "patch": None,
            }
        ],
        "allowed": [],
        "rules": {"checked": [None], "skipped": {"LP701": None}, "crashed": {}},
        "notices": [],
        "script_error": None,
    }


def test_json_holds_the_values_of_the_sample(paired):
    data = strict(to_json(paired))
    (finding,) = data["findings"]
    assert (data["script"], data["backend"], data["keras"]) == ("train.py", "jax", "3.15.1")
    assert finding["where"] == {
        "file": "train.py",
        "line": 12,
        "column": 31,
        "end_column": 46,
        "expression": "y_true - y_pred",
        "scope": "SquaredError.call",
    }
    assert (finding["counterfactual"]["before"], finding["counterfactual"]["after"]) == (8.119, 12.744)
    assert finding["counterfactual"]["columns"] == ["as written", "rows paired"]
    assert finding["severity"] == "error"
    assert finding["fix"].startswith("At train.py:7: give y one column")
    assert finding["fix"].endswith("\ny = y[:, None]        # (N, 1), like the output of Dense(1)")
    assert data["captures"][0]["terms"][0]["predictions"][0]["shape"] == [32, 1]


def test_json_tells_the_cell_of_a_notebook(every_sample):
    data = strict(to_json(every_sample["notebook"]))
    assert (data["findings"][0]["where"]["cell"], data["findings"][0]["where"]["line"]) == (3, 2)


def test_json_spells_out_numbers_that_json_lacks(every_sample):
    proof = strict(to_json(every_sample["nan"]))["findings"][0]["counterfactual"]
    assert proof["before"] == "NaN"
    assert proof["rows"][0]["before"] == "Infinity"
    assert plain(-math.inf) == "-Infinity"


class _Kind(enum.IntEnum):
    ONE = 1


@dataclass
class _Pair:
    a: object
    b: object


class _Rude:
    shape = ()

    def __repr__(self) -> str:
        raise RuntimeError("no")

    tolist = item = numpy = __float__ = __iter__ = __repr__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "NaN"),
        (np.float16("-inf"), "-Infinity"),
        (np.longdouble(2), 2.0),
        (np.int64(2**53 + 1), 2**53 + 1),
        (np.uint8(255), 255),
        (np.bool_(True), True),
        (np.str_("é"), "é"),
        (np.array(3.0), 3.0),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), [[1.0, "NaN"], ["Infinity", 2.0]]),
        (np.array(["a"], dtype=object), ["a"]),
        ((1, {"k": (2,)}), [1, {"k": [2]}]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (OrderedDict(a=UserDict(b=1)), {"a": {"b": 1}}),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "[1, 2]": "c"}),
        (_Kind.ONE, 1),
        (Severity.NOTE, "note"),
        (_Pair(1, np.float32(2)), {"a": 1, "b": 2.0}),
        (Fraction(1, 4), 0.25),
        (Decimal("0.1"), "Decimal('0.1')"),
        (PurePosixPath("a/b"), "PurePosixPath('a/b')"),
        (b"\xff", "b'\\xff'"),
        (1 + 2j, "(1+2j)"),
        (_Rude(), "<_Rude without repr>"),
        (int, "<class 'int'>"),
        (np.float32, "<class 'numpy.float32'>"),
    ],
)
def test_evidence_of_any_type_becomes_json(value, expected):
    converted = plain(value)
    assert converted == expected
    assert type(converted) is type(expected)
    strict(json.dumps(converted, allow_nan=False))


def test_evidence_that_holds_itself_or_too_much_is_cut():
    cycle: list = []
    cycle.append(cycle)
    assert len(json.dumps(plain(cycle))) < 1000
    assert len(json.dumps(plain(np.zeros((1000, 1000))))) < 1000
    assert len(json.dumps(plain(list(range(1_000_000))))) < 1000


def test_eager_tensors_become_lists(backend):
    keras = pytest.importorskip("keras")
    assert plain(keras.ops.convert_to_tensor([[1.0, float("nan")]])) == [[1.0, "NaN"]]
    assert plain(keras.ops.convert_to_tensor(2, dtype="int32")) == 2


def test_sarif_names_tool_rules_levels_and_places(every_sample):
    data = strict(to_sarif(every_sample["many"]))
    (run,) = data["runs"]
    assert data["version"] == "2.1.0"
    assert run["tool"]["driver"]["name"] == "lossproof"
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["LP101", "LP103", "LP204", "LP401"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    by_code = {result["ruleId"]: result for result in run["results"] if "suppressions" not in result}
    assert {code: r["level"] for code, r in by_code.items()} == {
        "LP101": "error",
        "LP103": "note",
        "LP204": "warning",
        "LP401": "error",
    }
    place = by_code["LP101"]["locations"][0]["physicalLocation"]
    # The expression's first character is the 32nd of the line.
    assert place == {
        "artifactLocation": {"uri": "train.py"},
        "region": {"startLine": 12, "startColumn": 32, "endColumn": 47},
    }
    assert "endColumn" not in by_code["LP401"]["locations"][0]["physicalLocation"]["region"], "it ends on another line"
    assert [r["ruleId"] for r in run["results"] if r.get("suppressions") == [{"kind": "inSource"}]] == ["LP204"]


def test_sarif_of_a_notebook_gives_no_line_of_the_file(every_sample):
    (result,) = strict(to_sarif(every_sample["notebook"]))["runs"][0]["results"]
    assert "region" not in result["locations"][0]["physicalLocation"]
    assert result["locations"][0]["logicalLocations"][0] == {"name": "cell 3", "kind": "module"}
    assert "study.ipynb cell 3:2" in result["message"]["text"]


@pytest.mark.parametrize("name", ["exception-explained", "exception-unexplained", "crash", "paired"])
def test_sarif_tells_how_the_run_went(every_sample, name):
    (invocation,) = strict(to_sarif(every_sample[name]))["runs"][0]["invocations"]
    told = " ".join(n["message"]["text"] for n in invocation.get("toolExecutionNotifications", []))
    assert invocation["executionSuccessful"] == (name != "exception-unexplained")
    assert ("rule LP203 crashed: ZeroDivisionError: division by zero" in told) == (name == "crash")
    assert ("the script failed: ValueError" in told) == (name == "exception-unexplained")


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("a b/größe.py", "a%20b/gr%C3%B6%C3%9Fe.py"),
        ("/srv/train.py", "file:///srv/train.py"),
        ("c:%d.py", "c%3A%25d.py"),
        ("../[x]?#.py", "../%5Bx%5D%3F%23.py"),
    ],
)
def test_sarif_escapes_paths(paired, file, uri):
    finding = replace(paired.findings[0], where=replace(paired.findings[0].where, file=file))
    (result,) = strict(to_sarif(replace(paired, findings=(finding,))))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri
    assert unquote(uri).removeprefix("file://") == file


def test_sarif_is_one_line_of_ascii_whatever_the_names(sample, poisoned):
    text = to_sarif(poisoned(sample[1], HOSTILE))
    assert text.isascii()
    assert "\n" not in text
    for result in strict(text)["runs"][0]["results"]:
        assert not set(result["message"]["text"]) & set("\x1b\u202e\ud800")


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner reads it: ActionCommand.TryParseV2 of actions/runner."""
    command, properties, message = re.fullmatch(r"::(\w+) ([^\n\r]*?)::([^\n\r]*)", line).groups()

    def unescaped(text: str, escapes: dict[str, str]) -> str:
        for code, char in escapes.items():
            text = text.replace(code, char)
        return text.replace("%25", "%")

    data = {"%0D": "\r", "%0A": "\n"}
    pairs = (pair.split("=", 1) for pair in properties.split(","))
    return command, {k: unescaped(v, data | {"%3A": ":", "%2C": ","}) for k, v in pairs}, unescaped(message, data)


def test_github_has_one_command_for_each_finding(every_sample, paired):
    lines = to_github(every_sample["many"]).split("\n")
    commands = [read_command(line) for line in lines]
    assert [command for command, _, _ in commands] == ["notice", "warning", "error", "error"]
    assert commands[2][1] == {"file": "train.py", "line": "12", "col": "32", "title": "LP101 batch-broadcast"}
    assert commands[2][2].split("\n") == [
        f"{paired.findings[0].title}. Nothing raises, so training runs on.",
        "loss on this batch: 8.119 as written, 12.744 rows paired (y_true reshaped to (32, 1))",
        "Fix at train.py:7: give y one column where it is made. Re-run here: 12.744, finding gone.",
        "y = y[:, None]        # (N, 1), like the output of Dense(1)",
    ]


def test_github_of_a_notebook_names_the_cell_in_the_message(every_sample):
    ((_, properties, message),) = map(read_command, to_github(every_sample["notebook"]).split("\n"))
    assert properties == {"file": "study.ipynb", "title": "LP101 batch-broadcast"}
    assert "Place: study.ipynb cell 3:2" in message


def test_github_tells_crashes_and_unexplained_failures_only(every_sample):
    crash = to_github(every_sample["crash"]).split("\n")
    assert [read_command(line)[:2] for line in crash] == [
        ("warning", {"title": "LP203 crashed"}),
        ("notice", {"title": "lossproof"}),
    ]
    assert "script failed" not in to_github(every_sample["exception-explained"])
    (failed,) = to_github(every_sample["exception-unexplained"]).split("\n")
    assert read_command(failed)[1] == {"file": "faces.py", "line": "40", "title": "script failed: ValueError"}


def test_github_escapes_hostile_names(sample, poisoned):
    clean, text = to_github(sample[1]), to_github(poisoned(sample[1], HOSTILE))
    assert text.count("\n") == clean.count("\n"), "no name starts a command of its own"
    assert not set(text) & set("\r\x1b\u202e\ud800")
    for line in filter(None, text.split("\n")):
        _, properties, _ = read_command(line)
        assert set(properties) <= {"file", "line", "col", "title"}
        if "file" in properties:
            assert properties["file"].endswith("a,b:c%0A%\r\n::error::[red]\\x1b[31m\\u202e\"\\\\ud800' é")
