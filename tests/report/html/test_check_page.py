"""The page of a check: everything that the terminal says, and nothing of the user's read as markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from lossproof.report.html import extra
from lossproof.report.html.check import to_html
from lossproof.report.report import Report

VOID = {"meta", "link"}
HOSTILE = "<b onclick='x'>\"&amp;{{ 7*7 }}</script><script>alert(1)</script><!--\u202e"


class Reader(HTMLParser):
    """The elements of a page, each closed, and what stands in them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {*self.open}:
            self.text[tag] = self.text.get(tag, "") + data


def read(page: str) -> Reader:
    # The charts' library is the only script that holds code of others: 5 MB that need not be read here.
    reader = Reader()
    reader.feed(re.sub(r"<script>/\*\*.*?</script>", "", page, flags=re.DOTALL))
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("name", ["paired", "nan", "exception-explained", "many", "notebook", "unicode"])
def test_the_page_says_what_was_found(every_sample: dict[str, Report], name: str) -> None:
    report = every_sample[name]
    words = " ".join(read(to_html(report)).text["body"].split())
    for finding in report.findings:
        parts = [finding.code, finding.name, finding.severity.value, finding.explanation, finding.fix.text]
        parts += [finding.fix.code or "", *(row.label for row in finding.counterfactual.rows)]
        parts += [finding.counterfactual.change, finding.where.file if finding.where else ""]
        assert [part for part in parts if " ".join(part.split()) not in words] == []


def test_the_numbers_are_those_of_the_terminal(paired: Report) -> None:
    words = read(to_html(paired)).text["body"]
    for value in ("8.119", "12.744", "6.836", "12.225", "0.000", "pairing is ignored", "gives (32, 32)"):
        assert value in words


def test_marks_stand_under_their_parts(paired: Report) -> None:
    lines = read(to_html(paired)).text["code"].split("\n")
    source = next(k for k, line in enumerate(lines) if "y_true - y_pred" in line)
    for part in ("y_true", "y_pred"):
        at = lines[source].index(part)
        assert lines[source + 1][at : at + len(part)] == "^" * len(part)


def test_every_sample_is_a_whole_page(every_sample: dict[str, Report]) -> None:
    for report in every_sample.values():
        reader = read(to_html(report))
        ids = [attributes["id"] for _, attributes in reader.tags if attributes.get("id")]
        assert len(ids) == len(set(ids))
        links = {attributes["href"] for tag, attributes in reader.tags if tag == "a"}
        assert {link.removeprefix("#") for link in links if link} <= set(ids)


def test_nothing_of_the_user_is_read_as_markup(
    every_sample: dict[str, Report], poisoned: Callable[[Report, str], Report]
) -> None:
    for report in every_sample.values():
        clean, reader = read(to_html(report)), read(to_html(poisoned(report, HOSTILE)))
        assert {tag for tag, _ in reader.tags} <= {tag for tag, _ in clean.tags} | {"p", "details", "summary", "code"}
        assert not [attributes for _, attributes in reader.tags if "onclick" in attributes]
        assert "49" not in reader.text["title"]
        assert "alert(1)" in reader.text["body"]
        assert "\u202e" not in reader.text["body"]


def test_a_page_without_charts_carries_no_library(paired: Report) -> None:
    assert len(to_html(paired)) < 30_000


def test_what_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, paired: Report) -> None:
    monkeypatch.setattr(extra, "NEEDED", ("jinja2", "surely_no_such_package"))
    with pytest.raises(extra.MissingExtra, match=r"need surely_no_such_package.*pip install 'lossproof\[html\]'"):
        to_html(paired)
