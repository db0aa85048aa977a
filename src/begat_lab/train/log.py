"""What a run says about itself: `log.jsonl`, one line a step, and `training.svg`, drawn from it.

Enters: numbers of a step.  Leaves: the two files.  Where the numbers come from: `loop.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PANELS = (
    ("loss", "loss, nats per token"),
    ("balance_loss", "auxiliary loss, mean over layers"),
    ("imbalance_of_experts", "imbalance score between experts"),
    ("max_over_mean_rows", "rows of the busiest rank over the mean"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One step, over all ranks. The last four are None for a dense model."""

    step: int
    loss: float
    rate: float
    gradient_norm: float
    tokens_per_second: float
    balance_loss: float | None = None
    imbalance_of_groups: float | None = None  # means over layers
    imbalance_of_experts: float | None = None
    max_over_mean_rows: float | None = None


class Log:
    """The open log of a run; lines of steps that are done again are dropped."""

    def __init__(self, folder: Path, done: int) -> None:
        self.file, self.picture = folder / "log.jsonl", folder / "training.svg"
        old = read_log(self.file) if self.file.exists() else []
        self.lines = [line for line in old if line.step <= done]
        self.file.write_text("".join(_json(line) for line in self.lines), encoding="utf-8")

    def add(self, line: Line) -> None:
        """Write one step."""
        self.lines.append(line)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(_json(line))

    def draw(self) -> None:
        """Draw all steps so far."""
        self.picture.write_text(picture(self.lines), encoding="utf-8")


def read_log(file: Path) -> list[Line]:
    """The lines of a log; one that a kill cut off is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if text.endswith("\n"):
            lines.append(Line(**json.loads(text)))
    return lines


def _json(line: Line) -> str:
    return json.dumps(asdict(line)) + "\n"


def picture(lines: list[Line], width: int = 640, height: int = 150) -> str:
    """One panel for each series that has values, as SVG."""
    panels: list[str] = []
    for key, title in PANELS:
        points = [(line.step, getattr(line, key)) for line in lines if getattr(line, key) is not None]
        if points:
            panels.append(_panel(points, title, len(panels) * height, width, height))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height * len(panels)}" font-family="sans-serif" font-size="11">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n')  # fmt: skip


def _panel(points: list[tuple[int, float]], title: str, top: int, width: int, height: int) -> str:
    left, right, head, foot = 60, 12, 24, 20
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    low, high = min(value for _, value in points), max(value for _, value in points)
    span = (high - low) or 1.0
    at = " ".join(
        f"{left + (step - first) / (last - first) * (width - left - right):.1f},"
        f"{top + height - foot - (value - low) / span * (height - head - foot):.1f}"
        for step, value in points
    )
    return (f'<text x="{left}" y="{top + 15}" font-weight="bold">{title}</text>'
            f'<text x="{left - 6}" y="{top + head + 5}" text-anchor="end">{high:.3g}</text>'
            f'<text x="{left - 6}" y="{top + height - foot}" text-anchor="end">{low:.3g}</text>'
            f'<text x="{left}" y="{top + height - 6}">step {first}</text>'
            f'<text x="{width - right}" y="{top + height - 6}" text-anchor="end">{points[-1][0]}</text>'
            f'<polyline points="{at}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>')  # fmt: skip
