"""Every rule keeps its contract: it says what it is, and its two examples behave, as scripts of their own."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lossproof.findings.finding import Severity
from lossproof.pipeline import check_script
from lossproof.rules.registry import rules
from lossproof.rules.rule import ALL_BACKENDS, Rule

RULES = rules()
EACH_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)


def test_the_registry_finds_every_file() -> None:
    folder = Path(inspect.getfile(Rule)).parent
    files = {path.name for path in folder.glob("*/lp*.py")}
    assert files == {Path(inspect.getfile(type(rule))).name for rule in RULES}
    assert len(files) >= 14


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


@EACH_RULE
def test_the_file_is_named_after_the_rule(rule: Rule) -> None:
    path = Path(inspect.getfile(type(rule)))
    assert path.stem == f"{rule.code.lower()}_{rule.name.replace('-', '_')}"
    assert len(path.read_text().splitlines()) < 350


@EACH_RULE
def test_the_rule_explains_itself(rule: Rule) -> None:
    assert re.fullmatch(r"LP[1-7]\d\d", rule.code)
    assert rule.usual() in set(Severity)
    assert "**Proof.**" in rule.explanation
    assert "**What to do.**" in rule.explanation
    assert rule.source
    assert not rule.summary.endswith(".")
    assert f"# expect: {rule.code}" in rule.guilty
    assert "# expect" not in rule.innocent
    assert set(rule.backends) <= set(ALL_BACKENDS)


def test_listing_the_rules_does_not_import_keras() -> None:
    code = (
        "import sys; import lossproof.rules.registry as r; r.rules(); "
        "bad = {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@EACH_RULE
def test_the_guilty_example_is_found_where_it_says(rule: Rule, tmp_path: Path, backend: str) -> None:
    if backend not in rule.backends:
        pytest.skip(f"{rule.code} is guilty on {', '.join(rule.backends)}")
    script = tmp_path / "guilty.py"
    script.write_text(rule.guilty.lstrip("\n"))
    report = check_script(script, **rule.asked)
    assert not report.crashed, report.crashed
    assert not report.notices
    own = [finding for finding in report.findings if finding.code == rule.code]
    expected = [i for i, line in enumerate(script.read_text().splitlines(), 1) if f"# expect: {rule.code}" in line]
    assert [finding.where.line if finding.where else None for finding in own] == expected
    for finding in own:
        assert finding.counterfactual.change
        assert finding.fix.text
        assert finding.title
        assert finding.where is not None
        assert Path(finding.where.file).name == "guilty.py"
    assert {finding.code for finding in report.loud} <= {rule.code}
    if report.script_error is not None:
        assert report.script_error.explained_by == rule.code


@EACH_RULE
def test_the_innocent_example_is_innocent(rule: Rule, tmp_path: Path) -> None:
    script = tmp_path / "innocent.py"
    script.write_text(rule.innocent.lstrip("\n"))
    report = check_script(script, **rule.asked)
    assert not report.crashed, report.crashed
    assert not report.notices
    assert not report.loud
    assert report.script_error is None
    assert report.captures
