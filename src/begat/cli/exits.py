"""The one table of exit codes: what 0, 1, 2, 3 and 130 mean for every command.

Enters: nothing.  Leaves: the codes, what each means for a command, and the `--help` epilog made of
that. docs/cli.md and `tests/contracts/test_exit_contract.py` read this table too; verdicts are
mapped to codes in `begat/verdict/policy.toml`, and the contract test holds the two together. How an
exception becomes a code: `begat.cli.guard`.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTHING, FOUND, ERROR, CANNOT, INTERRUPTED = 0, 1, 2, 3, 130

#: the codes that mean the same for every command
_ALWAYS = {
    ERROR: "error: bad input, bad usage, or a fault of the program; one line on stderr",
    INTERRUPTED: "interrupted (Ctrl-C)",
}


@dataclass(frozen=True, slots=True)
class Exits:
    """What 0, 1 and 3 mean for one command; "" for a code that it never ends with."""

    nothing: str
    found: str = ""
    cannot: str = ""

    def rows(self) -> tuple[tuple[int, str], ...]:
        """(code, meaning) of every code the command may end with, in order."""
        rows = {NOTHING: self.nothing, FOUND: self.found, CANNOT: self.cannot, **_ALWAYS}
        return tuple((code, words) for code, words in sorted(rows.items()) if words)


#: what the codes mean in general: the epilog of `begat` itself
GENERAL = Exits(
    "nothing found, or done",
    "found: dependence, relatives, a recipe, findings, a difference (see each command's --help)",
    "cannot test: the reason is in the first line, and what would make it possible",
)

#: command → what its codes mean; commands of a group that are not named here are as the group is
TABLE: dict[str, Exits] = {
    "audit": Exits(
        "nothing to act on, and what had to be compared was compared",
        "findings against the release, established or indicated (see --fail-on)",
        "cannot test: no finding, but what had to be compared was not (see --require)",
    ),
    "compare": Exits(
        "no evidence of derivation",
        "dependence found (identical, re-encoded, derived, partly derived, …)",
        "cannot test: the two have nothing comparable",
    ),
    "decompose": Exits(
        "the parents named do not explain the child",
        "they explain it: a recipe was found, or an adapter fits one of the bases",
        "cannot test: no tensor of the child has a counterpart in any parent",
    ),
    "demo": Exits("every verdict is what the known truth demands", "a verdict is not"),
    "index": Exits("done"),
    "index verify": Exits("the index is sound", "faults were found"),
    "inspect": Exits(
        "nothing found that shows earlier weights (states such as pruning may be noted)",
        "found: copied layers, sibling experts, or numbers that were rounded before",
        "cannot test: no tensor could be looked at",
    ),
    "replay": Exits("the numbers come out the same", "something differs"),
    "search": Exits(
        "no relative found by exact evidence (leads may be named)",
        "relatives found",
        "cannot test: the model, or every model of the index, leaves nothing to compare",
    ),
    "serve": Exits("ended by itself"),
    "sketch": Exits("done", cannot="cannot test: nothing of the model can be kept that a test could use"),
    "tree": Exits(
        "no two of the models are kin",
        "kin found",
        "cannot test: no two of the models have anything comparable",
    ),
}


def exits_of(command: str) -> Exits:
    """The row of a command ("index add"), or of its group; `GENERAL` for "". KeyError for a command
    that has none.
    """
    if not command:
        return GENERAL
    return TABLE[command] if command in TABLE else TABLE[command.split()[0]]


def epilog(command: str = "") -> str:
    """The end of a command's `--help`, as click formats it."""
    return epilog_of(exits_of(command))


def epilog_of(row: Exits) -> str:
    """The same of any row."""
    width = max(len(str(code)) for code, _ in row.rows())
    lines = [f"  {code:>{width}}  {words}" for code, words in row.rows()]
    return "\n".join(["\b", "Exit codes:", *lines])
