"""All rules, found by walking this folder: a new file is a new rule."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import lossproof.rules
from lossproof.rules.rule import Rule


@cache
def rules() -> tuple[Rule, ...]:
    """One instance of every rule, by code."""
    found: dict[str, Rule] = {}
    for module in pkgutil.walk_packages(lossproof.rules.__path__, "lossproof.rules."):
        if module.ispkg:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.name:
                if value.__abstractmethods__:
                    continue
                if value.code in found:
                    raise RuntimeError(f"two rules have the code {value.code}")
                found[value.code] = value()
    return tuple(found[code] for code in sorted(found))
