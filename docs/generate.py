"""Regenerate the generated blocks of the documentation: `python docs/generate.py [--check]`.

Enters: Markdown files with `<!-- begin NAME -->` … `<!-- end NAME -->`.  Leaves: the same files with the blocks written anew; with
--check nothing is written and the exit code is 1 when a block is stale (CI runs that as a test).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ["README.md", "CONTRIBUTING.md", "docs/cli.md", "docs/verdicts.md", "docs/statistics.md", "docs/formats.md",
         "docs/bench.md", "docs/dispute.md"]  # fmt: skip
_BLOCK = re.compile(r"(<!-- begin (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- end (?P=name) -->)", re.S)


def help_texts() -> str:
    """`--help` of every command."""
    from begat.cli.main import cli

    paths: list[tuple[str, ...]] = [()]
    for name in cli.list_commands(None):  # type: ignore[arg-type]
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        paths += [(name,), *((name, sub) for sub in getattr(command, "commands", {}))]
    out = []
    for path in paths:
        text = subprocess.run([  # noqa: S603  (our own command)
            sys.executable, "-m", "begat", *path, "--help"], capture_output=True, text=True, check=True,
                              env={"PATH": "", "COLUMNS": "100", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT / "src")}).stdout  # fmt: skip
        text = text.replace("python -m begat", "begat")
        out.append(f"### `{' '.join(('begat', *path))}`\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(out)


def exit_codes() -> str:
    """The one table of exit codes."""
    from begat.cli.exits import CANNOT, FOUND, NOTHING, TABLE

    rows = [f"| command | {NOTHING} | {FOUND} | {CANNOT} |", "|---|---|---|---|"]
    for command, row in TABLE.items():
        said = dict(row.rows())
        rows.append(f"| `begat {command}` | " + " | ".join(said.get(code, "–") for code in (NOTHING, FOUND, CANNOT)) + " |")
    return "\n".join(rows) + "\n"


def verdicts() -> str:
    """The decision table."""
    from begat.verdict import POLICY

    rows = ["| verdict | when | exit code |", "|---|---|---|"]
    for rule in POLICY.rules:
        when = " and ".join(f"{k} = {str(v).lower() if isinstance(v, bool) else v}" for k, v in rule.when.items())
        rows.append(f"| {rule.verdict} | {when} | {POLICY.exit_codes[rule.verdict]} |")
    return "\n".join(rows) + "\n"


def thresholds() -> str:
    """The thresholds of the decision table."""
    from begat.verdict import POLICY

    names = (
        "dependence_log10_e",
        "part_log10_e",
        "part_units",
        "agreeing_cosine",
        "agreeing_gains",
        "power",
        "views_share",
        "views_factor",
        "views_units",
    )
    return "\n".join(["| threshold | value |", "|---|---|", *(f"| `{n}` | {getattr(POLICY, n)} |" for n in names)]) + "\n"


def axes() -> str:
    """The symmetric axes with their nulls."""
    from begat.signals.axes import AXES

    rows = ["| axis | combined by | null and assumption |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{n}`: {a.title} | {a.combine} | {a.null} |" for n, a in AXES.items())]) + "\n"


def routes() -> str:
    """The ways of alignment with their nulls."""
    from begat.pipeline.routes import ROUTES

    rows = ["| way | null and assumption |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{name}`: {r.title} | {r.null} |" for name, r in ROUTES.items())]) + "\n"


def published() -> str:
    """Published statistics."""
    from begat.signals.published import PUBLISHED

    rows = ["| name | statistic | source | why it is no evidence |", "|---|---|---|---|"]
    return "\n".join([*rows, *(f"| `{n}` | {p.title} | {p.paper} | {p.remark} |" for n, p in PUBLISHED.items())]) + "\n"


def formats() -> str:
    """File formats."""
    import begat.source  # noqa: F401  (registers them)
    from begat.source.formats import FORMATS

    rows = ["| format | files |", "|---|---|"]
    return "\n".join([*rows, *(f"| {n} | {', '.join('`*' + s + '`' for s in f.suffixes)} |" for n, f in FORMATS.items())]) + "\n"


def families() -> str:
    """Families with their symmetric axes."""
    from begat.canon.families import load

    table = load()
    rows = ["| family | never tested by order |", "|---|---|"]
    for f in table.families:
        why = "; ".join(f"`{axis}`: {reason}" for axis, reason in table.profiles[f.profile].asymmetric.items())
        rows.append(f"| {f.name} | {why or '–'} |")
    return "\n".join(rows) + "\n"


def tree() -> str:
    """The rooms: every package and module with the first line of its docstring."""
    lines = []
    for path in sorted((ROOT / "src").rglob("*.py"), key=lambda p: (p.parent, p.name != "__init__.py", p.name)):
        text = path.read_text()
        match = re.search(r'^(?:"""|r""")(.+?)(?:\n|""")', text)
        module = path.relative_to(ROOT / "src")
        depth = len(module.parts) - 1
        name = f"{module.parent.name}/" if path.name == "__init__.py" else path.name
        indent = "  " * (depth - (path.name == "__init__.py"))
        first = match.group(1).strip().rstrip(".") if match else ""
        lines.append(f"{indent}{name:<{max(1, 26 - len(indent))}} {first}".rstrip())
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _newest_table(folder: str) -> str:
    """The table of the newest committed result."""
    newest = sorted((ROOT / "benchmarks" / folder / "results").glob("*.md"))[-1]
    lines = [line for line in newest.read_text().splitlines() if line.startswith("|") or line.endswith(" wrong")]
    head = [
        line[2:]
        for line in newest.read_text().splitlines()
        if line.startswith(("- machine", "- date", "- python", "- numpy", "- command"))
    ]
    return "\n".join([*(line for line in lines if line.startswith("|")), "", "(" + "; ".join(head) + ")"]) + "\n"


def real() -> str:
    """Results on real weights."""
    return _newest_table("real")


def disguise() -> str:
    """Results on disguised and reshaped children."""
    return _newest_table("disguise")


def speed() -> str:
    """Results on speed."""
    return _newest_table("speed")


def bench(family: str, heading: str) -> str:
    """One section of the newest bench's report on a family."""
    text = (ROOT / "benchmarks" / "lab" / family / "table.md").read_text()
    found = re.search(rf"^#+ {re.escape(heading)}\n\n(.*?)(?=\n+## |\n+Intervals of |\Z)", text, re.S | re.M)
    return found[1].strip() + "\n" if found else "(not measured)\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "help": help_texts, "exit-codes": exit_codes, "verdict-table": verdicts, "thresholds": thresholds, "axes": axes, "routes": routes, "disguise": disguise,
    "published": published, "formats": formats,
    "families": families, "real": real, "speed": speed, "tree": tree,
    "bench-pairs": partial(bench, "full", "Bench on the family `full`"), "bench-methods": partial(bench, "full", "All methods"),
    "bench-alarms": partial(bench, "full", "begat's false alarms"), "bench-null": partial(bench, "full", "Are begat's p bounds honest?"),
    "bench-drift": partial(bench, "full", "Drift until it fails"), "bench-twins": partial(bench, "full", "Twins"),
    "bench-others": partial(bench, "full", "Other pairs"), "dispute-full": partial(bench, "full", "The disputed statistics"),
    "dispute-deep": partial(bench, "deep", "The disputed statistics"), "quick-methods": partial(bench, "quick", "All methods"),
    "quick-pairs": partial(bench, "quick", "Bench on the family `quick`"), "quick-alarms": partial(bench, "quick", "begat's false alarms"),
    "quick-drift": partial(bench, "quick", "Drift until it fails"), "quick-twins": partial(bench, "quick", "Twins"),
}  # fmt: skip


def regenerate(text: str) -> str:
    """`text` with every generated block written anew."""
    return _BLOCK.sub(lambda m: m[1] + BLOCKS[m["name"]]() + m[4], text)


def main(check: bool) -> int:
    """Write (or check) all files; returns the exit code."""
    stale = []
    for name in FILES:
        file = ROOT / name
        old = file.read_text()
        new = regenerate(old)
        if new != old:
            stale.append(name)
            if not check:
                file.write_text(new)
    for name in stale:
        print(("stale: " if check else "rewrote ") + name)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
