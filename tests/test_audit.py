"""How findings of one capture are put together."""

from __future__ import annotations

from lossproof.audit import _most_exact
from lossproof.findings.finding import Counterfactual, Finding, Fix, Severity
from lossproof.rules.registry import rules


def finding(code: str, severity: Severity) -> Finding:
    return Finding(
        code=code,
        name=code.lower(),
        severity=severity,
        title="title",
        where=None,
        explanation="",
        evidence={},
        counterfactual=Counterfactual("change", 1.0, 2.0),
        fix=Fix("fix"),
    )


def test_a_rule_yields_to_the_more_exact_one() -> None:
    both = [finding("LP101", Severity.ERROR), finding("LP106", Severity.WARNING)]
    assert [one.code for one in _most_exact(both, rules())] == ["LP101"]
    assert _most_exact(both[1:], rules()) == both[1:]


def test_it_does_not_yield_to_a_note() -> None:
    both = [finding("LP101", Severity.NOTE), finding("LP106", Severity.WARNING)]
    assert _most_exact(both, rules()) == both


def test_rules_yield_to_rules_that_exist() -> None:
    known = {rule.code for rule in rules()}
    for rule in rules():
        assert set(rule.yields_to) <= known - {rule.code}
