"""Compare the shipped family; see the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from begat.pipeline.compare import compare
from begat.types import Progress, Verdict

#: member → what its comparison with the parent must say, and the truth in words
MEMBERS = {
    "fine-tune": ("derived", "made from the parent, trained on"),
    "four-bit": ("re-encoded", "the parent, rounded to 4 bits"),
    "twin": ("shared-initialisation", "same initial weights, never saw the parent"),
    "stranger": ("no-evidence", "same shape, data and recipe, other seed"),
}


@dataclass(frozen=True, slots=True)
class DemoPair:
    """One comparison of the demonstration: `expected` is what the truth demands of `verdict.verdict`."""

    member: str
    truth: str
    expected: str
    verdict: Verdict

    @property
    def right(self) -> bool:
        """The verdict is what the truth demands."""
        return self.verdict.verdict == self.expected

    def beside(self, name: str) -> float | None:
        """The value of a published statistic for this pair."""
        return next((s.value for s in self.verdict.beside if s.name == name), None)


def data_folder() -> Path:
    """Where the shipped checkpoints lie."""
    return Path(str(resources.files("begat.demo") / "data"))


def truth() -> dict[str, Any]:
    """The shipped truth.json: parents, kinds, recipes, seeds and digests."""
    value: dict[str, Any] = json.loads((data_folder() / "truth.json").read_text("utf-8"))
    return value


def run_demo(progress: Progress | None = None) -> tuple[DemoPair, ...]:
    """Compare the parent with every other member."""
    folder = data_folder()
    return tuple(
        DemoPair(name, words, expected, compare(folder / "parent", folder / name, progress=progress))
        for name, (expected, words) in MEMBERS.items()
    )
