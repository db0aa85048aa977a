"""PEFT LoRA adapters over their base: merged rows, computed when they are asked for.

Enters: an adapter folder and the opened base (or none).  Leaves: a `Checkpoint` whose adapted tensors read as
base rows + scale · (B[rows] @ A), in float32.  Files and formats: `open.py`.  adapter_config.json is untrusted: it gives
numbers for the merge, and `base_model_name_or_path` in it is never followed. What is no plain LoRA is refused: merging it
wrongly would make a model nobody released.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from begat.errors import InputError
from begat.source.formats import ParsedFile
from begat.source.peft_tokens import NAME as TOKENS
from begat.source.peft_tokens import TokenRows, token_rows
from begat.source.reader import FileReader
from begat.types import F32, I64, U8, Checkpoint, Rows, TensorEntry

_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_MERGE = "merge the adapter into its base first (peft: merge_and_unload) and give the merged model"
_LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<embed>embedding_)?(?P<part>[AB])(\.default)?(\.weight)?$")
#: initialisations that also change the base's weights, so that the published base is not the one trained on
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_HEADS = ("lm_head",)
_PLAIN_KEY = re.compile(r"^\^?[\w.\-]+\$?$")


@dataclass(frozen=True, slots=True)
class Delta:
    """scale · B @ A for one stored matrix; `flipped`: the stored matrix is [in, out], so its transpose is added; `own`: that matrix is the
    adapter's own copy, which PEFT keeps of embeddings and heads.
    """

    base: TensorEntry
    a: TensorEntry
    b: TensorEntry
    scale: float
    flipped: bool
    own: bool = False


@dataclass(slots=True)
class _Pair:
    """The two factors of one module, as they are met."""

    embed: bool = False
    parts: dict[str, TensorEntry] = field(default_factory=dict)


class MergedReader:
    """Reads adapted tensors as merged float32 rows and passes everything else on to the base's reader."""

    def __init__(
        self, base: Checkpoint, own: FileReader, deltas: Mapping[str, Delta], replaced: frozenset[str], tokens: Mapping[str, TokenRows]
    ) -> None:
        self._base, self._own = base.reader, own
        self._deltas, self._replaced, self._tokens = deltas, replaced, tokens
        self.bytes_read = self._base.bytes_read

    def rows(self, entry: TensorEntry, rows: Rows | None, cols: slice | I64 | None = None) -> F32:
        """Rows of the matrix view as float32; see `begat.types.Reader`."""
        delta = self._deltas.get(entry.name)
        if delta is None:
            source = self._own if entry.name in self._replaced else self._base
            tokens = self._tokens.get(entry.name)
            out = source.rows(entry if tokens is None else tokens.table, rows, cols)
            out = out if tokens is None else tokens.put(out, self._own, rows, cols)
        else:
            out = self._merged(delta, rows, cols)
        self.bytes_read = self._base.bytes_read + self._own.bytes_read
        return out

    def _merged(self, delta: Delta, rows: Rows | None, cols: slice | I64 | None) -> F32:
        base = (self._own if delta.own else self._base).rows(delta.base, rows, cols)
        at: Any = slice(None) if rows is None else np.asarray(rows)
        if delta.flipped:
            left, right = self._own.rows(delta.a, None, None)[:, at].T, self._own.rows(delta.b, None, None).T
        else:
            left, right = self._own.rows(delta.b, rows, None), self._own.rows(delta.a, None, None)
        if cols is not None:
            right = right[:, cols]
        with np.errstate(all="ignore"):  # weights that are not finite are refused where they are checked
            out: F32 = base + np.float32(delta.scale) * (left @ right)
        return out

    def raw(self, entry: TensorEntry, rows: Rows | None, cols: slice | None = None) -> U8:
        """Stored bytes of rows; of an adapted tensor, which is stored nowhere, the bytes of its float32 values."""
        if entry.name in self._deltas or entry.name in self._tokens:
            values = np.ascontiguousarray(self.rows(entry, rows, cols), dtype="<f4")
            return values.view(np.uint8).reshape(values.shape[0], values.shape[1] * 4)
        source = self._own if entry.name in self._replaced else self._base
        out = source.raw(entry, rows, cols)
        self.bytes_read = self._base.bytes_read + self._own.bytes_read
        return out

    def scales(self, entry: TensorEntry, rows: Rows, cols: Rows) -> F32:
        """The scales of an entry that the adapter leaves alone; see `begat.types.Reader`."""
        return (self._own if entry.name in self._replaced else self._base).scales(entry, rows, cols)

    def close(self) -> None:
        """Close the files of both."""
        self._own.close()
        self._base.close()


def open_adapter(folder: Path, base: Checkpoint | None) -> Checkpoint:
    """The checkpoint of an adapter folder, merged with `base` on demand; without a base only the adapter's own tensors.

    An adapted entry has dtype F32 and the shape of the base's; its file is the adapter's, its byte range is nominal.

    Raises:
        InputError: no plain LoRA, a tensor of the adapter that lands nowhere, shapes that do not fit the base.

    """
    from begat.source.open import assemble, parse_file, read_json

    file = next((folder / n for n in _FILES if (folder / n).is_file()), None)
    if file is None:
        raise InputError(
            "adapter folder holds no adapter weights",
            file=folder,
            expected=" or ".join(_FILES),
            found="none of them",
            fix="download the file",
        )
    config_file = folder / "adapter_config.json"
    config = read_json(config_file)
    parsed = parse_file(file)
    if base is None:
        alone = assemble(folder, "peft", [file], [parsed], config)
        return replace(alone, notes=(*alone.notes, "adapter without its base: give --base"))
    if base.format == "peft":
        raise InputError("the base is an adapter itself", file=base.path, fix="give the full model as base")
    _only_lora(config_file, config)
    return _merged(folder, file, parsed, _Config(config_file, config), base)


def _only_lora(file: Path, config: dict[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind not in ("LORA", "TRAINABLE_TOKENS"):
        raise InputError("adapter type is not read", file=file, expected="LORA or TRAINABLE_TOKENS", found=kind, fix=_MERGE)
    for key in ("use_dora", "use_qalora", "layer_replication", "alora_invocation_tokens", "target_parameters"):
        if config.get(key):
            raise InputError(f"adapter uses {key}, which is not read", file=file, fix=_MERGE)
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise InputError(
            "adapter was started by changing its base, so base + adapter is not the model",
            file=file,
            found=f"init_lora_weights {start}",
            fix=_MERGE,
        )


class _Config:
    """The numbers of adapter_config.json, checked."""

    def __init__(self, file: Path, config: dict[str, Any]) -> None:
        self.file = file
        self.alpha = self._number("lora_alpha", config.get("lora_alpha", 8))
        self.rslora = bool(config.get("use_rslora", False))
        self.flipped = bool(config.get("fan_in_fan_out", False))
        self.alphas = self._pattern(config.get("alpha_pattern") or {})
        self.said = config
        self.digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()

    def scale(self, module: str, rank: int) -> float:
        """Alpha / r (or / sqrt r); r is the rank of the stored factors, as rank_pattern would give it."""
        alpha = next((v for k, v in self.alphas.items() if module == k or module.endswith("." + k)), self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
            raise InputError(
                f"{key} is no number", file=self.file, expected="a number", found=value, fix="download the file again"
            )
        return float(value)

    def _pattern(self, patterns: Any) -> dict[str, float]:
        """Module name endings → alpha. PEFT takes regular expressions; those of strangers are not run."""
        if not isinstance(patterns, dict):
            raise InputError("alpha_pattern is no object", file=self.file, fix="download the file again")
        for key in patterns:
            if not _PLAIN_KEY.match(key):
                raise InputError("alpha_pattern is a regular expression, which is not run", file=self.file, found=key, fix=_MERGE)
        return {key.strip("^$"): self._number("alpha_pattern", value) for key, value in patterns.items()}


def _merged(folder: Path, file: Path, parsed: ParsedFile, config: _Config, base: Checkpoint) -> Checkpoint:
    entries = dict(base.entries)
    deltas: dict[str, Delta] = {}
    replaced: set[str] = set()
    pairs: dict[str, _Pair] = {}
    rows: dict[str, TensorEntry] = {}
    copies: set[str] = set()
    for entry in parsed.entries:
        name = _plain_name(entry.name)
        match, tokens = _LORA.match(name), TOKENS.match(name)
        if tokens:
            rows[tokens["module"]] = entry
        elif match:
            pair = pairs.setdefault(match["module"], _Pair(bool(match["embed"])))
            if match["part"] in pair.parts or pair.embed != bool(match["embed"]):
                raise InputError("adapter has two factors for one place", file=file, tensor=entry.name, fix=_MERGE)
            pair.parts[match["part"]] = entry
        elif "lora_" in name or "ia3_" in name or "hada_" in name or "lokr_" in name or "vera_" in name:
            raise InputError("adapter tensor of a kind that is not read", file=file, tensor=entry.name, fix=_MERGE)
        else:
            target = _find(name, base) or name
            if target in base.entries and base.entries[target].shape != entry.shape and not _resized(name, entry, base.entries[target]):
                raise InputError(
                    "replaced tensor has another shape than the base's",
                    file=file,
                    tensor=entry.name,
                    expected=list(base.entries[target].shape),
                    found=list(entry.shape),
                    fix="give the base the adapter was trained on",
                )
            if target in replaced:
                raise InputError("two adapter tensors replace one", file=file, tensor=entry.name, fix=_MERGE)
            entries[target] = replace(entry, name=target)
            replaced.add(target)
            copies |= {target} if ".base_layer." in entry.name else set()
    for module, pair in pairs.items():
        own = _find(module + ".weight", base) or module + ".weight"
        copy = replace(base, entries={**base.entries, own: entries[own]}) if own in copies else base
        delta = replace(_delta(file, module, pair, config, copy), own=own in copies)
        replaced -= copies & {own}
        if delta.base.name in deltas or delta.base.name in replaced:
            raise InputError("two adapter parts change one tensor", file=file, tensor=delta.base.name, fix=_MERGE)
        deltas[delta.base.name] = delta
        entries[delta.base.name] = replace(
            delta.base, dtype="F32", file=file, offset=0, nbytes=delta.base.size * 4, strides=None, scaling=None
        )
    changed = _token_rows(file, config, rows, base, entries, set(deltas))
    if not deltas and not replaced and not changed:
        raise InputError("adapter changes nothing", file=file, fix="download the file again")
    digest = hashlib.sha256(f"{base.header_digest}\n{parsed.digest}\n{config.digest}".encode()).hexdigest()
    note = f"LoRA adapter merged on demand: {len(deltas)} tensors changed, {len(replaced)} replaced"
    note += f", token rows of {len(changed)} replaced" if changed else ""
    return Checkpoint(
        path=folder,
        format="peft",
        entries=entries,
        config=base.config,
        header_digest=digest,
        files=(*base.files, file),
        reader=MergedReader(base, FileReader(), deltas, frozenset(replaced), changed),
        skipped=(*base.skipped, *parsed.skipped),
        notes=(*base.notes, *parsed.notes, note),
        unread={**base.unread, **parsed.unread},
        stored=parsed.entries,
    )


def _token_rows(
    file: Path, config: _Config, rows: Mapping[str, TensorEntry], base: Checkpoint, entries: dict[str, TensorEntry], taken: set[str]
) -> dict[str, TokenRows]:
    """The tables whose rows the adapter replaces; their entries are float32 from here on. A tied head moves with its embedding."""
    out: dict[str, TokenRows] = {}
    for module, entry in rows.items():
        target = _find(module + ".weight", base)
        if target is None and module.rpartition(".")[2] in _HEADS and len(rows) > 1:
            continue  # tied to the embedding, which has the same rows
        if target is None or target in taken:
            raise InputError("token rows of the adapter belong to no tensor of the base, or to one that it changes too", file=file,
                             tensor=entry.name, expected=module + ".weight", found=target or "absent", fix=_MERGE)  # fmt: skip
        found = token_rows(file, config.said, module, entry, entries[target])
        heads = [n for n in base.entries if n.removesuffix(".weight").rpartition(".")[2] in _HEADS and n.endswith(".weight")]
        tied = base.config.get("tie_word_embeddings") is True and module.rpartition(".")[2] not in _HEADS
        for name in (target, *(n for n in heads if tied and entries[n].shape == entries[target].shape)):
            table = entries[name]
            out[name] = replace(found, table=table)
            entries[name] = replace(table, dtype="F32", file=file, offset=0, nbytes=table.size * 4, strides=None, scaling=None)
    return out


def _resized(name: str, entry: TensorEntry, table: TensorEntry) -> bool:
    """An embedding or head of a vocabulary that was extended or cut before training: other rows, the same width."""
    module = name.removesuffix(".weight").rpartition(".")[2]
    return module in ("embed_tokens", *_HEADS) and len(entry.shape) == len(table.shape) == 2 and entry.shape[1] == table.shape[1]


def _plain_name(name: str) -> str:
    """An adapter tensor's name as the base model has it, but for a lora ending."""
    plain = name
    for prefix in ("base_model.model.", "base_model."):
        if plain.startswith(prefix):
            plain = plain.removeprefix(prefix)
            break
    for part in (".modules_to_save.default", ".modules_to_save", ".original_module", ".base_layer"):
        plain = plain.replace(part + ".", ".")
    return plain


def _find(name: str, base: Checkpoint) -> str | None:
    """The base's tensor of that name; model classes differ by a prefix, so an unambiguous ending will do."""
    if name in base.entries:
        return name
    near = [n for n in base.entries if n.endswith("." + name) or name.endswith("." + n)]
    return near[0] if len(near) == 1 else None


def _delta(file: Path, module: str, pair: _Pair, config: _Config, base: Checkpoint) -> Delta:
    if set(pair.parts) != {"A", "B"}:
        have = next(iter(pair.parts.values()))
        raise InputError(
            "adapter has only one of two factors",
            file=file,
            tensor=have.name,
            expected="lora_A and lora_B",
            found="".join(sorted(pair.parts)),
            fix="download the file again",
        )
    a, b = pair.parts["A"], pair.parts["B"]
    target = _find(module + ".weight", base)
    if target is None:
        raise InputError(
            "base has no tensor this adapter part belongs to",
            file=file,
            tensor=a.name,
            expected=module + ".weight",
            found="absent",
            fix="give the base the adapter was trained on",
        )
    entry = base.entries[target]
    if len(a.shape) != 2 or len(b.shape) != 2 or len(entry.shape) != 2 or a.shape[0] != b.shape[1] or not a.shape[0]:
        raise InputError(
            "adapter factors are no matrices of one rank",
            file=file,
            tensor=a.name,
            expected="A [r, in], B [out, r]",
            found=f"A {list(a.shape)}, B {list(b.shape)}, base {list(entry.shape)}",
            fix=_MERGE,
        )
    ways = [way for way in (False, True) if entry.shape == ((a.shape[1], b.shape[0]) if way else (b.shape[0], a.shape[1]))]
    if not ways:
        raise InputError(
            "adapter does not fit the base",
            file=file,
            tensor=a.name,
            expected=f"base of {[b.shape[0], a.shape[1]]}",
            found=list(entry.shape),
            fix="give the base the adapter was trained on",
        )
    flipped = pair.embed or (config.flipped != entry.transposed)
    return Delta(entry, a, b, config.scale(module, a.shape[0]), flipped if flipped in ways else ways[0])
