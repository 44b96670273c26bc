"""The HTML report: one page that says what the terminal says, whatever stands in the user's source."""

from __future__ import annotations

from html.parser import HTMLParser

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Severity
from lossproof.report.html import to_html
from lossproof.report.report import Report

SOURCE = "return {'a': y_true < y_pred & 1}  # <script>alert(1)</script>"


def page_of(script: str | None = "train {x} <b>.py") -> str:
    finding = Finding(
        code="LP101",
        name="batch-broadcast",
        severity=Severity.ERROR,
        title="every prediction meets every target",
        where=Place("train.py", 3, 0, len(SOURCE), SOURCE, source=SOURCE),
        explanation="1024 pairs.",
        evidence={},
        counterfactual=Counterfactual("pair the rows", 8.119, 12.744),
        fix=Fix("y = y[:, None]"),
    )
    return to_html(Report(script, "torch", "3.15.1", findings=(finding,), checked=("LP101",)))


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.text[tag] = self.text.get(tag, "") + data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_says_what_the_terminal_says() -> None:
    reader = read(page_of())
    for part in ("LP101", "batch-broadcast", "1024 pairs.", "8.119", "12.744", "y = y[:, None]", SOURCE):
        assert part in reader.text["code"]


def test_nothing_of_the_user_is_read_as_markup() -> None:
    reader = read(page_of())
    assert reader.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "pre", "code", "span"}
    assert reader.text["title"] == reader.text["h1"] == "lossproof: train {x} <b>.py"


def test_the_style_sheet_is_whole() -> None:
    style = read(page_of(None)).text["style"]
    assert style.count("{") == style.count("}") > 2
    assert "{{" not in style
    assert "body { margin" in style
