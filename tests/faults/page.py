"""The figures of a run, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .operators.everything import BY_NAME, OPERATORS
from .reasons import reason
from .script import ALL

Results = Sequence[dict[str, Any]]


def table(results: Results) -> str:
    """Detection per operator and backend, in Markdown."""
    backends = [one for one in ALL if any(result["backend"] == one for result in results)]
    lines = [
        "| fault | rules that may name it | " + " | ".join(backends) + " |",
        "|---|---|" + "---|" * len(backends),
    ]
    for operator in OPERATORS:
        of = [one for one in results if one["operator"] == operator.name]
        if of:
            cells = [_share([one for one in of if one["backend"] == backend]) for backend in backends]
            lines.append(f"| {operator.what} (`{operator.name}`) | {', '.join(operator.codes)} | {' | '.join(cells)} |")
    cells = [f"**{_share([o for o in results if o['operator'] and o['backend'] == b])}**" for b in backends]
    lines.append(f"| **all** | | {' | '.join(cells)} |")
    return "\n".join(lines)


def per_rule(results: Results) -> str:
    """How many faults each rule named, per backend, in Markdown."""
    backends = [one for one in ALL if any(result["backend"] == one for result in results)]
    lines = ["| rule | " + " | ".join(backends) + " |", "|---|" + "---|" * len(backends)]
    judged = [one for one in results if one["status"] in ("named", "missed", "seen")]
    for code in sorted({code for one in judged for code in BY_NAME[one["operator"]].codes}):
        cells = []
        for backend in backends:
            own = [one for one in judged if one["backend"] == backend and code in BY_NAME[one["operator"]].codes]
            cells.append(str(sum(code in one["codes"] for one in own)))
        lines.append(f"| {code} | {' | '.join(cells)} |")
    return "\n".join(lines)


def counts(results: Results) -> str:
    """What became of all mutants, per backend, in Markdown."""
    lines = [
        "| backend | originals | alarms | mutants | equivalent | raise | named of these | judged | named | seen | missed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for backend in ALL:
        here = [one for one in results if one["backend"] == backend]
        if not here:
            continue
        seeded = [one for one in here if one["operator"]]
        raising = [one for one in seeded if one["status"] == "raises"]
        known = [one for one in raising if set(one["codes"]) & set(BY_NAME[one["operator"]].codes)]
        by = {
            status: sum(one["status"] == status for one in seeded)
            for status in ("named", "seen", "missed", "equivalent")
        }
        originals = [one for one in here if not one["operator"]]
        numbers = [
            len(originals), sum(one["status"] == "alarm" for one in originals), len(seeded), by["equivalent"], len(raising),
            len(known), by["named"] + by["seen"] + by["missed"], by["named"], by["seen"], by["missed"],
        ]  # fmt: skip
        lines.append(f"| {backend} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def page(results: Results) -> str:
    """docs/faults.md."""
    survivors = [one for one in results if one["status"] in ("missed", "seen")]
    rows = [
        f"| {one['subject']} | `{one['operator']}` {one['index']} | {one['backend']} | {', '.join(one['codes']) or 'nothing'} "
        f"| {reason(one['subject'], one['operator'])} |"
        for one in sorted(survivors, key=lambda one: (one["operator"], one["subject"], one["index"], one["backend"]))
    ]
    return f"""<!-- Written by `make faults`. -->
# Seeded faults

Healthy objectives are broken on purpose, in one place each, and checked. The originals are `tests/faults/healthy`, the
losses of Keras on columns (as a class, as a function, and called by a function with sample weights) and the cured
examples. An operator of `tests/faults/operators` changes the syntax tree of such a script. A mutant counts if it is
certified to be another objective: from equal weights, eager steps of gradient descent on equal rows report another value
or move the weights elsewhere, where the kind of fault asks for it a value is no longer finite or a weight no longer moves.
Mutants that behave as their original are set aside. Those that stop by themselves with an error are counted apart.

What is a healthy objective as well is not seeded: a distance with its arguments exchanged, a stopped gradient that leaves
every weight another one, one-hot rows times 255 where that is only a factor. No operator aims at LP304, which goes by the
clock, at LP305 and LP701, which are asked for, at LP409 and LP411, for which there are no originals, and at LP505, a note.

*Named* is a mutant with an error or warning of one of the rules that the operator says may name it; *seen*, one with
errors or warnings of other rules only; *missed*, one of which nothing is said.

{counts(results)}

## By kind of fault

Named, of those judged.

{table(results)}

## By rule

How many of the judged mutants each rule named.

{per_rule(results)}

## Survivors

Mutants that no rule named which may. Where the last column is empty, a rule should have named it and does not.

| original | fault | backend | findings | why |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _share(results: Results) -> str:
    judged = [one for one in results if one["status"] in ("named", "seen", "missed")]
    named = sum(one["status"] == "named" for one in judged)
    return f"{named} of {len(judged)}" if judged else "-"
