"""Records of many cases as tables.

Enters: `Record`s, or the lines of a file of them.  Leaves: counts by command and by claim, and the
list of what is wrong, each with the command that shows it again.  Who makes records: `ask.py`; who
runs many: `benchmarks/claims/`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from begat_lab.cases.ask import STATUSES, Record

#: statuses that a right program never reaches
WRONG = ("false", "crash")


def wrong(records: Iterable[Record]) -> list[Record]:
    """False statements and crashes."""
    return [r for r in records if r.status in WRONG]


def by_command(records: Sequence[Record]) -> str:
    """One row a command."""
    return _table(records, "command", lambda r: (r.command,))


def by_claim(records: Sequence[Record]) -> str:
    """One row a command and a claim."""
    return _table(records, "command | claim", lambda r: (r.command, r.about))


def _table(records: Sequence[Record], head: str, key: Callable[[Record], tuple[str, ...]]) -> str:
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    seen: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for r in records:
        at = key(r)
        counts[at][r.status] += 1
        seen[at].add(r.case)
    columns = ["cases", "said", *STATUSES]
    rows = [f"| {head} | {' | '.join(columns)} |", "|" + "---|" * (len(columns) + 1 + head.count("|"))]
    for at in sorted(counts):
        said = counts[at]["true"] + counts[at]["false"]
        numbers = [len(seen[at]), said, *(counts[at][s] for s in STATUSES)]
        rows.append(f"| {' | '.join(at)} | {' | '.join(f'{n:,}' for n in numbers)} |")
    return "\n".join(rows)


def listed(records: Sequence[Record], statuses: Sequence[str], command: str) -> str:
    """What has one of `statuses`, a line a statement, case by case; `command` shows a case again,
    `{case}` its name.
    """
    out: list[str] = []
    cases: dict[str, list[Record]] = defaultdict(list)
    for r in records:
        if r.status in statuses:
            cases[r.case].append(r)
    for name, found in sorted(cases.items()):
        out.append(f"- `{command.format(case=name)}`")
        out += [f"  - {r.status}, {r.command}: {r.statement}" + (f" ({r.why})" if r.why else "") for r in found]
    return "\n".join(out) or "none"
