"""Carets stand under what they mark, by cells counted here from Unicode's own tables."""

from __future__ import annotations

import io
import unicodedata

import pytest
from rich.cells import cell_len

from lossproof.findings.finding import Label, Place
from lossproof.report.snippet import snippet
from lossproof.report.typeset import Typesetter, console_for


def shown(place: Place, width: int = 80) -> list[str]:
    """The lines of the snippet right of the bar."""
    lines = [line.plain for line in snippet(place, Typesetter(console_for(io.StringIO(), width=width)), "red")]
    assert all(cell_len(line) <= width for line in lines)
    return [line.partition("|  ")[2] for line in lines]


def cells(text: str) -> list[str]:
    """What stands in each cell of the terminal: a wide character takes two, a combining one none of its own."""
    out: list[str] = []
    for char in text:
        if unicodedata.combining(char):
            out[-1] += char
        else:
            out += [char] + [""] * (unicodedata.east_asian_width(char) in "WF")
    return out


def marked(source: str, carets: str) -> list[str]:
    """The pieces of the source line above each run of carets."""
    above, pieces = cells(source), []
    for k, char in enumerate(carets):
        if char == "^":
            if k == 0 or carets[k - 1] != "^":
                pieces.append("")
            pieces[-1] += above[k]
    return pieces


def labels(source: str, **texts: str) -> tuple[Label, ...]:
    return tuple(Label(source.index(part), source.index(part) + len(part), text) for part, text in texts.items())


@pytest.mark.parametrize(
    "source",
    [
        "return abc - xyz",
        "\t\treturn abc\t- xyz",
        "    x = '日本語' + abc - xyz",
        "    \uff46\uff55(abc) - e\u0301e\u0301 * xyz",
        "👍 abc 👍👍 xyz",
        "'\x1b[31m', abc, '\u202e', xyz",
        " " * 30 + "abc" + " " * 10 + "xyz",
    ],
)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_carets_stand_under_their_parts(source, width):
    line, carets, texts = shown(
        Place("a.py", 1, source=source, labels=labels(source, abc="(8,)", xyz="(8, 1)")), width
    )[:3]
    assert marked(line, carets) == ["abc", "xyz"]
    assert texts.index("(8,)") == carets.index("^")


def test_carets_under_wide_and_joined_characters():
    source = "f(日本語) + é + '👨\u200d👩\u200d👧' + abc"
    line, carets, _ = shown(Place("a.py", 1, source=source, labels=labels(source, 日本語="(8,)", abc="(8, 1)")))
    assert carets.index("^^^^^^ ") == 2
    assert carets.rindex(" ^^^") + 1 == cell_len(line[: line.index("abc")])


def test_without_labels_the_expression_is_marked():
    source = "        loss = ops.mean(y_true - y_pred)"
    place = Place("a.py", 1, source.index("y_true"), len(source) - 1, "y_true - y_pred", source=source)
    line, carets = shown(place)
    assert marked(line, carets) == ["y_true - y_pred"]


def test_an_expression_over_several_lines_is_marked_to_the_end_of_its_first():
    source = "    loss = ops.mean("
    for end, expression in [(5, None), (19, "ops.mean(\n  y_true)")]:
        line, carets = shown(Place("a.py", 1, 11, end, expression, source=source))
        assert marked(line, carets) == ["ops.mean("]


def test_all_lines_of_a_source_are_shown_with_their_numbers():
    place = Place("a.py", 99, 4, 5, source="    f(\n        1,\n    )\n")
    lines = [line.plain for line in snippet(place, Typesetter(console_for(io.StringIO())), "red")]
    assert lines == ["  99 |  f(", "     |  ^^", " 100 |      1,", " 101 |  )"]


def test_labels_that_would_collide_are_stacked_on_stems():
    source = "a * b * c"
    place = Place("a.py", 1, source=source, labels=labels(source, a="(32, 1)", b="(1, 32)", c="(32, 32)"))
    assert shown(place) == ["a * b * c", "^   ^   ^", "|   |   (32, 32)", "|   (1, 32)", "(32, 1)"]


def test_a_label_around_others_stands_beside_them_without_carets():
    source = "y - p"
    place = Place(
        "a.py", 1, source=source, labels=(Label(0, 5, "gives (8, 8)"), Label(0, 1, "(8,)"), Label(4, 5, "()"))
    )
    assert shown(place) == ["y - p", "^   ^", "|   ()   gives (8, 8)", "(8,)"]


def test_labels_of_one_part_are_joined():
    assert shown(Place("a.py", 1, source="abc", labels=(Label(0, 3, "(8,)"), Label(0, 3, "int32")))) == [
        "abc",
        "^^^",
        "(8,), int32",
    ]


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("at", range(0, 400, 37))
def test_a_long_line_is_cut_around_what_is_labelled(width, at):
    filler = "".join(f"x{k:03} + " for k in range(60))
    source = filler[:at] + "abc - xyz" + filler[at:]
    place = Place("a.py", 1, source=source, labels=labels(source, abc="(8,)", xyz="(8, 1)"))
    line, carets, *_ = shown(place, width)
    assert marked(line, carets) == ["abc", "xyz"]
    assert line.startswith("...") or source.startswith(line[:10])
    assert line.endswith("...") or source.endswith(line[-10:])
    assert line.removeprefix("...").removesuffix("...") in source
    assert cell_len(line) > width - 10, "the room is used"


@pytest.mark.parametrize("at", range(0, 400, 37))
def test_a_long_line_of_wide_characters_is_cut_between_them(at):
    filler = "日本語é" * 100
    source = filler[:at] + "abc" + filler[at:]
    line, carets, _ = shown(Place("a.py", 1, source=source, labels=labels(source, abc="(8,)")), 40)
    assert marked(line, carets) == ["abc"]


def test_parts_beyond_the_cut_are_told_in_words():
    source = "abc + " + "1 + " * 100 + "xyz"
    lines = shown(Place("a.py", 1, source=source, labels=labels(source, abc="(8,)", xyz="(8, 1)")))
    assert marked(*lines[:2]) == ["abc"]
    assert lines[2:] == ["(8,)", "xyz: (8, 1)"]


def test_a_very_long_line_takes_no_time():
    source = "x = [" + "0.12345, é, " * 20_000 + "abc]"
    assert marked(*shown(Place("a.py", 1, source=source, labels=labels(source, abc="(8,)")))[:2]) == ["abc"]


def test_a_label_too_long_for_its_place_moves_to_the_left():
    source = "f(" + "x" * 60 + ", abc)"
    lines = shown(Place("a.py", 1, source=source, labels=labels(source, abc="thirty characters of a remark.")), 80)
    assert lines[2].endswith("thirty characters of a remark.")


@pytest.mark.parametrize("columns", [(50, 60), (3, 1000), (-5, 2), (3, 3)])
def test_columns_outside_the_line_do_no_harm(columns):
    lines = shown(Place("a.py", 1, *columns, source="    y = 1", labels=(Label(*columns, "text"),)))
    assert lines[0] == "y = 1"
    assert any("text" in line for line in lines)


@pytest.mark.parametrize("source", [None, "", "   ", "\n"])
def test_no_source_no_snippet(source):
    assert shown(Place("a.py", 1, 0, 5, source=source)) == []
