"""A bench's results as tables, Markdown and JSON.

Enters: the rows of the parts.  Leaves: a `Report`.  Pictures: `pictures.py`.  Nothing is computed here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

ABLATION = "An ablation of our own: the paper publishes none of these numbers, and none of them was taken from it."


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one dataclass, and what they are."""

    name: str
    title: str
    about: str
    rows: tuple[Any, ...]

    def markdown(self) -> str:
        """Title, explanation, table."""
        if not self.rows:
            return f"## {self.title}\n\nNot measured: {self.about}\n"
        names = [one.name for one in fields(self.rows[0])]
        lines = ["| " + " | ".join(_heading(name) for name in names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(_cell(getattr(row, name)) for name in names) + " |" for row in self.rows]
        return f"## {self.title}\n\n{self.about}\n\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Report:
    """Where and how it was measured, and what came out."""

    machine: dict[str, Any]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = field(default=())

    def markdown(self) -> str:
        """The whole page."""
        head = "\n".join(f"- {key}: {value}" for key, value in self.machine.items())
        notes = "".join(f"- {note}\n" for note in self.notes)
        return f"# MoGE against top-K of equal size\n\n{ABLATION}\n\n{head}\n\n{notes}\n" + "\n".join(
            t.markdown() for t in self.tables
        )

    def json(self) -> str:
        """All numbers, unrounded."""
        tables = {table.name: [asdict(row) for row in table.rows] for table in self.tables}
        return json.dumps({"machine": self.machine, "notes": self.notes, "tables": tables}, indent=1) + "\n"


def _heading(name: str) -> str:
    words = name.replace("moge", "MoGE").replace("top_k", "top-K").replace("max_over_mean", "max/mean")
    return words.replace("_over_", " : ").replace("_", " ")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value) if value != "" else "–"


def tables_of(results: dict[str, Sequence[Any]]) -> tuple[Table, ...]:
    """Tables with their explanations, in reading order."""
    return tuple(Table(name, *_WORDS[name], tuple(results[name])) for name in _WORDS if name in results)


_WORDS = {
    "load": ("Rows per rank, by the router alone",
             "The same logits routed both ways; means over batches. MoGE's 1 and 0 hold by construction, whatever the router does."),
    "errors": ("Are the products right?", "Relative error (norm over norm) against the loop in float32 on the same rounded weights, at one routing."),
    "kernels": ("Grouped matrix products against a loop over experts",
                "One MoGE layer. The floor is what the machine's measured matrix product and copy would need for the routed experts alone; "
                "no grouped product for this device and dtype leaves the table empty."),
    "routers": ("The router alone", "Softmax and choice of experts, from logits."),
    "layers": ("One layer on one device", "Equal weights and input, so equal operations; what differs is which experts are touched."),
    "busiest": ("The busiest of the simulated ranks",
                "Its experts on its rows, on one device and without communication: what all others would wait for."),
    "parallel": ("Over real ranks", "Processes of this machine, each holding its share of the experts; top-K exchanges counts first, MoGE needs none."),
    "models": ("Whole models", "Batched prefill, batched decoding from a filled key-value cache, and a training step (forward, losses, backward, AdamW)."),
    "quality": ("Quality after equal training",
                "Small byte models from the same weights on the same windows. Loss in nats per held-out byte; rows on one rank a group."),
}  # fmt: skip
