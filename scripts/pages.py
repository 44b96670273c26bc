"""Write the pages that say what the rules and the cases say: docs/rules/, docs/benchmark.md and README's table.

python scripts/pages.py            write them
python scripts/pages.py --check    exit with 1 if one of them is not what would be written
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from lossproof.report.pages import FAMILIES
from lossproof.rules.registry import rules
from lossproof.rules.rule import Rule

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"
GENERATED = "<!-- Written by scripts/pages.py; edit {} instead. -->"


def rule_page(rule: Rule) -> str:
    """The page of one rule, in Markdown."""
    file = f"src/{type(rule).__module__.replace('.', '/')}.py"
    sources = "\n".join(f"- {one}" for one in rule.source)
    return "\n".join(
        [
            GENERATED.format(file),
            "",
            f"# {rule.code} {rule.name}",
            "",
            f"The objective {rule.summary}. Severity: {rule.severity}.",
            "",
            rule.explanation.strip(),
            "",
            "## Guilty",
            "",
            f"On {', '.join(rule.backends)}; the finding points at the marked line.",
            "",
            *_code(rule.guilty.replace(f"# expect: {rule.code}", f"# <- {rule.code}")),
            "",
            "## Innocent",
            "",
            *_code(rule.innocent),
            "",
            "## Source",
            "",
            sources,
            "",
            (
                f"Intended? Write `# lossproof: allow {rule.code} because <reason>` on the line. `lossproof explain {rule.code}` "
                "shows this page in the terminal."
            ),
            "",
        ]
    )


def _code(script: str) -> list[str]:
    return ["```python", script.strip("\n"), "```"]


def index() -> str:
    """The list of all rules, with links."""
    lines = [GENERATED.format("the rules"), "", "# Rules", ""]
    for family, title in FAMILIES.items():
        members = [rule for rule in rules() if rule.code.startswith(family)]
        if members:
            lines += [f"## {title}", "", "| code | name | the objective ... | severity |", "|---|---|---|---|"]
            lines += [
                f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.summary} | {rule.severity} |"
                for rule in members
            ]
            lines.append("")
    return "\n".join(lines)


def table() -> str:
    """README's table of the rules."""
    rows = [f"| [{rule.code}](docs/rules/{rule.code}.md) | {rule.name} | {rule.summary} |" for rule in rules()]
    return "\n".join([BEGIN, "| code | name | the objective ... |", "|---|---|---|", *rows, END])


def benchmark() -> str:
    """The page of the real bugs in tests/cases."""
    known = {rule.code for rule in rules()}
    lines = [
        GENERATED.format("the case.toml files"),
        "",
        "# The benchmark",
        "",
        (
            "Real bugs, most of them from public threads, rebuilt as a script with the bug (`train.py`) and the same one "
            "without it (`fixed.py`). The cause of each was established by intervention: one thing changed, before and after. "
            "`make cases` runs `lossproof check` on all of them, on each backend on which the bug exists, and counts what it "
            "finds, misses and reports without reason."
        ),
        "",
    ]
    for folder in sorted((ROOT / "tests" / "cases").glob("*/case.toml")):
        case = tomllib.loads(folder.read_text(encoding="utf-8"))
        codes = ", ".join(f"[{c}](rules/{c}.md)" if c in known else c for c in case["expect"])
        source = case["source"]
        lines += [
            f"## {case['title']}",
            "",
            (
                f"[{folder.parent.name}](../tests/cases/{folder.parent.name}/train.py), on {', '.join(case['backends'])}. "
                f"Source: {'<' + source + '>' if source.startswith('http') else source}"
            ),
            "",
            f"- **Seen**: {case['symptom']}",
            f"- **Cause**: {case['cause']}",
            f"- **Evidence**: {case['evidence']}",
            f"- **Fix**: {case['fix']}",
            f"- **Not found yet**: {case['missed']} ({codes})" if "missed" in case else f"- **Finding**: {codes}",
            "",
        ]
    return "\n".join(lines)


def pages() -> Iterator[tuple[Path, str]]:
    """Each generated file with the text that it should have."""
    folder = ROOT / "docs" / "rules"
    for rule in rules():
        yield folder / f"{rule.code}.md", rule_page(rule)
    yield folder / "README.md", index()
    yield ROOT / "docs" / "benchmark.md", benchmark()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head, rest = readme.split(BEGIN)
    yield ROOT / "README.md", head + table() + rest.split(END)[1]


def stale() -> list[Path]:
    """The generated files that are missing, outdated, or of a rule that is gone."""
    wanted = dict(pages())
    outdated = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    gone = [path for path in (ROOT / "docs" / "rules").glob("LP*.md") if path not in wanted]
    return outdated + gone


def main() -> int:
    """Write or check the pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        for path in stale():
            print(f"{path.relative_to(ROOT)} is not up to date: run python scripts/pages.py")
        return 1 if stale() else 0
    for path in stale():
        if path.name.startswith("LP") and path not in dict(pages()):
            path.unlink()
    for path, text in pages():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
