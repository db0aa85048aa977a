"""PEFT's trainable token rows: an adapter's own rows of an embedding, in the place of the base's.

Enters: adapter tensors `X.token_adapter.trainable_tokens_delta` [tokens, width], and the config.  Leaves: `TokenRows`, which put these rows
where they belong.  Despite the name the tensor holds the rows themselves: PEFT merges them with `index_copy` (peft 0.21.2,
tuners/trainable_tokens/layer.py). Which tokens they are is in the config, as a list or by module.  LoRA factors: `peft.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from begat.errors import InputError
from begat.source.reader import FileReader
from begat.types import F32, I64, Rows, TensorEntry

NAME = re.compile(r"^(?P<module>.+?)(\.token_adapter)?\.trainable_tokens_delta(\.default)?$")


@dataclass(frozen=True, slots=True)
class TokenRows:
    """`place[i]` is the row of `entry` that stands for token i of `table`, -1 for none."""

    entry: TensorEntry
    table: TensorEntry
    place: I64

    def put(self, out: F32, reader: FileReader, rows: Rows | None, cols: slice | I64 | None) -> F32:
        """`out`, the base's rows `rows` (all by default), with those of these tokens replaced."""
        where = self.place if rows is None else self.place[np.asarray(rows, dtype=np.int64)]
        at = np.flatnonzero(where >= 0)
        if not len(at):
            return out
        out = out.copy()
        out[at] = reader.rows(self.entry, where[at], cols)
        return out


def token_rows(file: Path, config: Mapping[str, Any], module: str, entry: TensorEntry, table: TensorEntry) -> TokenRows:
    """The rows of one module. Raises InputError where config and shapes do not say which tokens they are."""

    def bad(expected: object, found: object) -> InputError:
        return InputError("token rows of the adapter do not fit", file=file, tensor=entry.name, expected=expected, found=found,
                          fix="give the base the adapter was trained on, or merge the adapter first")  # fmt: skip

    said = config.get("trainable_token_indices", config.get("token_indices"))
    if isinstance(said, dict):
        said = next((v for k, v in said.items() if module == k or module.endswith(f".{k}")), None)
    if not isinstance(said, list) or not said or not all(type(n) is int for n in said):
        raise bad(f"token indices for {module} in adapter_config.json", type(said).__name__)
    if len(entry.shape) != 2 or len(table.shape) != 2 or entry.shape != (len(said), table.shape[1]):
        raise bad(f"rows {[len(said), table.cols]}", list(entry.shape))
    if len(set(said)) != len(said) or min(said) < 0 or max(said) >= table.shape[0]:
        raise bad(f"different tokens from 0 to {table.shape[0] - 1}", f"{min(said)} to {max(said)}")
    place = np.full(table.shape[0], -1, dtype=np.int64)
    place[np.asarray(said)] = np.arange(len(said))
    return TokenRows(entry, table, place)
