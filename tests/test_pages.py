"""What is written about the rules is what the rules say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from lossproof.rules.registry import rules

ROOT = Path(__file__).resolve().parent.parent


def pages_script(name: str = "pages"):
    spec = importlib.util.spec_from_file_location(f"_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_up_to_date() -> None:
    assert pages_script().stale() == []


def test_the_page_of_examples_shows_them_as_they_are() -> None:
    script = pages_script("examples")
    assert not script.stale()
    shown = script.printed_before()
    assert shown.keys() == {path.stem for path in script.FOLDER.glob("*.py")}
    assert all(shown.values())


def test_a_changed_page_is_noticed() -> None:
    script = pages_script()
    page = ROOT / "docs" / "rules" / "LP101.md"
    script.pages = lambda: iter([(page, page.read_text(encoding="utf-8") + "more")])
    assert page in script.stale()


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_rule_has_a_page() -> None:
    assert {path.stem for path in (ROOT / "docs" / "rules").glob("LP*.md")} == {rule.code for rule in rules()}
