"""Pages in a real browser: they open, charts are drawn, nothing is fetched, and a keyboard gets everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lossproof.ledger.course import Course
from lossproof.report.html.check import to_html
from lossproof.report.report import Report

from .test_run_page import account

pytestmark = pytest.mark.backend("torch")  # a browser knows no backend: once is enough
HOSTILE = "<img src=x onerror=document.title='hacked'><script>document.title='hacked'</script>"


@pytest.fixture
def many(every_sample: dict[str, Report]) -> Report:
    return every_sample["many"]


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_in_silence_and_draws_its_charts(
    many: Report, open_page: Callable[..., Any], width: int, dark: bool
) -> None:
    opened = open_page(to_html(many), width=width, dark=dark)
    assert opened.said == []
    assert opened.asked == []
    bars = opened.page.locator(".plot .bars path")
    assert bars.count() == 3  # two terms and the regularization of the second objective
    assert all(box["width"] > 0 and box["height"] > 5 for box in [bars.nth(0).bounding_box()])
    inside = opened.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert inside <= 0, "the page is wider than the window"


def test_the_theme_follows_the_reader(many: Report, open_page: Callable[..., Any]) -> None:
    def colours(dark: bool) -> tuple[str, str]:
        page = open_page(to_html(many), dark=dark).page
        body = "getComputedStyle(document.body).backgroundColor"
        text = "getComputedStyle(document.querySelector('.plot .xtitle')).fill"
        return page.evaluate(body), page.evaluate(text)

    light, dark = colours(False), colours(True)
    assert light[0] == "rgb(255, 255, 255)"
    assert all(a != b for a, b in zip(light, dark, strict=True))


def test_names_of_the_user_do_nothing(
    many: Report, open_page: Callable[..., Any], poisoned: Callable[[Report, str], Report]
) -> None:
    opened = open_page(to_html(poisoned(many, HOSTILE)))
    assert opened.said == []
    assert opened.asked == []
    assert opened.page.title() != "hacked"
    assert opened.page.locator("img").count() == 0
    shown = opened.page.locator(".plot .ytick text").all_text_contents()
    assert any(text.endswith("/script>") for text in shown), "the chart shows the name as it is"
    opened.page.locator(".plot .bars path").first.hover(force=True)
    assert "onerror" in opened.page.locator(".hoverlayer").first.text_content()
    assert opened.page.title() != "hacked"


@pytest.mark.parametrize("width", [390, 1200])
def test_the_first_steps_are_drawn_whatever_their_parts_are_called(
    many: Report, open_page: Callable[..., Any], poisoned: Callable[[Any, str], Any], width: int
) -> None:
    course = Course(account(0), tuple(account(k) for k in range(4)), "", (0, 10), {"kl": (0.0, 1.0)})
    card = replace(many.captures[1], course=poisoned(course, HOSTILE))
    opened = open_page(to_html(replace(many, captures=(card,))), width=width)
    assert opened.said == []
    assert opened.asked == []
    assert opened.page.title() != "hacked"
    assert opened.page.locator(".plot .main-svg:first-child").count() == 8
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_keyboard_reaches_what_a_mouse_does(many: Report, open_page: Callable[..., Any]) -> None:
    page = open_page(to_html(many), width=390).page
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 60)"))
    for kind in ('<a class="skip"', '<a href="#finding-1"', "<summary>", '<div class="scroll"'):
        assert any(start.startswith(kind) for start in reached), kind
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None


def test_text_stands_out_from_what_is_behind_it(many: Report, open_page: Callable[..., Any]) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 at least."""
    script = """() => [...document.querySelectorAll('h1,h2,h3,p,td,th,li,a,summary,.severity,pre')].map((e) => {
        let b = e; while (getComputedStyle(b).backgroundColor === 'rgba(0, 0, 0, 0)' && b.parentElement) b = b.parentElement;
        return [getComputedStyle(e).color, getComputedStyle(b).backgroundColor];
    })"""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for dark in (False, True):
        page = open_page(to_html(many), dark=dark).page
        for pair in {tuple(pair) for pair in page.evaluate(script)}:
            low, high = sorted(map(luminance, (c if c != "rgba(0, 0, 0, 0)" else "rgb(255, 255, 255)" for c in pair)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, pair
