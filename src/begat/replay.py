"""Replay a report: run its comparison again and see whether the numbers come out the same.

Enters: a JSON report (and, where the files have moved, their new paths).  Leaves: a `Replay` that lists every difference. Digests of headers and of
the sampled values come first, since another file is another question.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.pipeline.compare import compare
from begat.report.json import to_json
from begat.source.open import read_json
from begat.types import Progress, Verdict

#: numbers may differ in the last digits between BLAS builds; hits and verdicts may not
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Replay:
    """Outcome of a replay: `differences` as (field, then, now); empty when everything agrees."""

    report: Path
    verdict: Verdict
    differences: tuple[tuple[str, str, str], ...]

    @property
    def same(self) -> bool:
        """No difference was found."""
        return not self.differences


def replay(
    report: str | Path, a: str | Path | None = None, b: str | Path | None = None, base: str | Path | None = None,
    progress: Progress | None = None,
) -> Replay:  # fmt: skip
    """Run the comparison of a JSON report again.

    Args:
        report: what `begat compare --json` printed.
        a, b, base: where the checkpoints are now; by default where they were.

    Raises:
        InputError: the report is none of begat's, or the checkpoints cannot be read.
    """
    then = read_json(Path(report))
    how = then.get("replay")
    if not isinstance(how, dict) or not {"a", "b", "nonce", "map", "published"} <= set(how):
        raise InputError("is not a begat report", file=report, expected="a 'replay' block", found=", ".join(list(then)[:5]),
                         fix="save one with: begat compare A B --json > report.json")  # fmt: skip
    verdict = compare(
        a or how["a"]["path"], b or how["b"]["path"], base=base or how.get("base"), map=how["map"], nonce=how["nonce"],
        published=bool(how["published"]), align=bool(how.get("align", True)), progress=progress,
    )  # fmt: skip
    return Replay(Path(report), verdict, tuple(_differences(then, to_json(verdict))))


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Fields that decide or carry evidence, walked in parallel; times, bytes and paths may differ."""
    out: list[tuple[str, str, str]] = []
    for side, name in itertools.product(("a", "b"), ("header_digest", "sample_digest")):
        _walk(f"replay.{side}.{name}", then["replay"][side].get(name), now["replay"][side][name], out)
    for name in ("version", "verdict", "log10_e", "log10_p", "direction", "kind", "axes", "parts", "map", "equality", "trained", "alignment"):
        _walk(name, then.get(name), now[name], out)
    return out


def _walk(path: str, x: Any, y: Any, out: list[tuple[str, str, str]]) -> None:
    if isinstance(x, dict) and isinstance(y, dict):
        for key in {**x, **y}:
            _walk(f"{path}.{key}", x.get(key), y.get(key), out)
    elif isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
        for i, (p, q) in enumerate(zip(x, y, strict=True)):
            _walk(f"{path}[{i}]", p, q, out)
    elif _number(x) and _number(y):
        if abs(x - y) > _TOLERANCE * max(1.0, abs(x)):
            out.append((path, repr(x), repr(y)))
    elif x != y:
        out.append((path, repr(x)[:80], repr(y)[:80]))


def _number(x: Any) -> bool:
    return isinstance(x, float) or (isinstance(x, int) and not isinstance(x, bool))
