"""Is it true? Every kind of statement has a rule that holds it against the truth of a case.

Enters: a `Statement` and a `Truth`.  Leaves: "true", "false", "withheld" (nothing was said) or
"unverifiable" (the truth does not speak of it), and why.  One file a command: `comparison.py`,
`kinds.py`, `alone.py` (inspect), `recipe.py` (decompose), `many.py` (search, tree, audit).  What a
right answer has to say and did not: `unsaid`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from begat_lab.cases.checks import alone, comparison, many, recipe
from begat_lab.cases.checks.base import Answer
from begat_lab.cases.statements import Statement
from begat_lab.cases.truth import Truth

#: (command, about) → rule
RULES: dict[tuple[str, str], Callable[[Statement, Truth], Answer]] = {
    **{("compare", about): rule for about, rule in comparison.RULES.items()},
    **{("inspect", about): rule for about, rule in alone.RULES.items()},
    **{("decompose", about): rule for about, rule in recipe.RULES.items()},
    **many.RULES,
}


def check(statement: Statement, truth: Truth) -> Answer:
    """(status, why) of a statement."""
    if statement.withheld:
        return "withheld", ""
    rule = RULES.get((statement.command, statement.about))
    return rule(statement, truth) if rule is not None else ("unverifiable", "no rule")


def unsaid(command: str, result: Any, truth: Truth, models: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(what, why) of what a right answer has to say beyond its claims."""
    if command == "compare":
        yield from comparison.unsaid(result, truth.pairs[models[0], models[1]])
    elif command == "decompose":
        yield from recipe.unsaid(result, truth)
