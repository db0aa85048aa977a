"""`inspect`: what one model alone says about itself, end to end.

Enters: a path or an opened checkpoint.  Leaves: an `Inspection`.  The questions are `begat.signals.inspect.FINDINGS`; this
draws and reads the rows they ask for, a
few of every matrix unless everything is asked for, never a whole checkpoint at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import begat
from begat.canon.model import Canonical
from begat.canon.resolve import resolve
from begat.errors import UntestableError, printable
from begat.inspection import Finding, Inspection, TowerFacts
from begat.pipeline.coverage import unread
from begat.pipeline.headline import gap_words
from begat.pipeline.sampling import PUBLIC_SEED, check_finite, generator, plan_site, read_views, seed_of
from begat.signals.axes import Site
from begat.signals.inspect import FINDINGS
from begat.source import open_checkpoint
from begat.source.pieces import runs
from begat.types import F32, Accounting, Checkpoint, Gap, Progress, TensorEntry, TensorKey
from begat.verdict import POLICY

#: values of a matrix in memory at once when everything is read
_RUN_VALUES = 1 << 22
#: values of a vocabulary table in memory at once
_TABLE_VALUES = 1 << 24
#: bytes up to which a matrix stored as its transpose is read whole for a few of its rows; beyond, its stored rows stand for them
_WHOLE = 16 << 20


def inspect(
    model: str | Path | Checkpoint, *, base: str | Path | None = None, full: bool = False, nonce: str = "", progress:
    Progress | None = None
) -> Inspection:  # fmt: skip
    """Look at one checkpoint for what it says about its own making.

    Args:
        model: a weight file or folder, or an opened checkpoint.
        base: the base model, where `model` is a PEFT adapter folder.
        full: read every value instead of a few rows of every matrix.
        nonce: mixed into the public seed that chooses the sampled rows.
        progress: told about long work; silent by default.

    Returns:
        an `Inspection`, one finding for each of `begat.signals.inspect.FINDINGS`, found or not.

    Raises:
        InputError: unreadable or damaged input, weights that are not finite, no tensor that begat knows.
    """
    start = time.perf_counter()
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model, base)
    try:
        return _inspect(checkpoint, full, nonce, progress, start)
    finally:
        checkpoint.reader.close()


def _inspect(c: Checkpoint, full: bool, nonce: str, progress: Progress | None, start: float) -> Inspection:
    if c.format == "peft" and any("without its base" in note for note in c.notes):
        raise UntestableError("is an adapter without its base model", file=c.path, fix="name the base with --base")
    model = resolve(c)
    if not model.tensors:
        raise UntestableError("holds no tensor with a name begat knows", file=c.path, tensor=next(iter(model.unmapped), None),
                         expected="names of a supported architecture", found=f"{len(model.unmapped)} unknown names",
                         fix="see docs/formats.md for the supported names")  # fmt: skip
    seed = seed_of(model, model, nonce)
    look = _Look(model, full, seed, progress)
    if progress:
        progress.start("inspecting", 0)
    gaps = unread(model)
    findings = tuple(Finding(n, x.title, x.basis, x.null, x.says_not, x.run(look)) for n, x in FINDINGS.items())
    if progress:
        progress.done()
    return Inspection(
        path=printable(c.path, 400),
        sentence=_sentence(findings, gaps),
        descent=any(f.found.descent for f in findings),
        towers=_towers(model),
        types=_types(model),
        accounting=_accounting(model),
        findings=findings,
        full=full,
        caveats=_caveats(model),
        bytes_read=c.reader.bytes_read,
        bytes_total=c.nbytes,
        seconds=time.perf_counter() - start,
        replay={
            "tool": "begat", "version": begat.__version__, "public_seed": PUBLIC_SEED, "seed": f"{seed:032x}",
            "nonce": nonce, "full": full,
            "header_digest": c.header_digest,
        },
        unread=gaps,
    )  # fmt: skip


def _sentence(findings: Sequence[Finding], gaps: Sequence[Gap]) -> str:
    """What was found, and what was not looked at where that is more than a little."""
    missing = sum(g.share for g in gaps)
    if missing <= POLICY.unread_share:
        return _found(findings, "")
    return f"{_found(findings, ' in what was read')} Not looked at: {gap_words(gaps)} of its parameters."


def _found(findings: Sequence[Finding], where: str) -> str:
    """The findings that show descent, else the states, else that there is nothing."""
    descent = [f.found.sentence for f in findings if f.found.descent]
    states = [f.title[0].lower() + f.title[1:] for f in findings if f.found.status == "found" and not f.found.descent]
    if descent:
        text = "; ".join(descent) + "."
        return text[0].upper() + text[1:]
    if states:
        return f"No trace of earlier weights{where}; noted: " + ", ".join(states) + "."
    return f"The model alone shows no trace of earlier weights{where}."


class _Look:
    """Implements `begat.signals.inspect.Look`: draws publicly, reads within reason, refuses weights that are not finite."""

    def __init__(self, model: Canonical, full: bool, seed: int, progress: Progress | None) -> None:
        self.model, self.full, self.needed = model, full, POLICY.dependence_log10_e
        self._seed, self._progress = seed, progress

    def rng(self, *path: object) -> np.random.Generator:
        """The public generator for one purpose."""
        return generator(self._seed, "inspect", *path)

    def units(self, sites: Sequence[Site], m: int) -> list[list[F32]] | None:
        """Features of the same units of every site; None where stored quantisation blocks differ or leave too few."""
        plans = [plan_site(self.model, self.model, s, m, 1, self.rng("units", s.units)) for s in sites]
        if not all(plans):
            return None
        first = plans[0][0]
        if any(not np.array_equal(p[0].units, first.units) or len(p[0].site.views) != len(first.site.views) for p in plans):
            return None
        return [read_views(self.model, p[0]) for p in plans]

    def cost(self, site: Site, m: int) -> int:
        """Bytes that reading m units of a site takes."""
        plans = plan_site(self.model, self.model, site, m, 1, self.rng("units", site.units))
        return plans[0].cost // 2 if plans else 0

    def chunks(self, key: TensorKey, rows: int) -> Iterator[F32]:
        """`rows` public rows, or all in runs."""
        t = self.model.tensors[key]
        if not self.full:
            yield self.rows(key, rows)
            return
        if t.is_vector:
            yield from (self._read(key, at).reshape(1, -1) for at in runs(t.shape[0], _RUN_VALUES))
            return
        n, width = t.shape
        step = max(1, _RUN_VALUES // max(1, width))
        for first in range(0, n, step):
            yield self._read(key, range(first, min(first + step, n)))

    def rows(self, key: TensorKey, rows: int) -> F32:
        """Public rows in order: the same of all matrices with as many. Of a vector its elements, a million at most."""
        t = self.model.tensors[key]
        if t.is_vector:
            return self._read(key, range(min(t.shape[0], _RUN_VALUES))).reshape(1, -1)
        by_columns = t.transposed and self.entry(key).nbytes > _WHOLE
        n = t.shape[1] if by_columns else t.shape[0]
        at = np.sort(self.rng("rows", n).permutation(n)[:rows]).astype(np.int64)
        if by_columns:
            values = self.model.read_columns(key, at)
            check_finite(self.model, key, values)
            return np.ascontiguousarray(values)
        return self._read(key, at)

    def columns(self, key: TensorKey, cols: int) -> F32:
        """All rows of a table in some neighbouring columns (more of them when `full`)."""
        t = self.model.tensors[key]
        width = t.shape[1]
        if self.full:  # all of a table that fits, else as many columns as do
            cols = min(width, max(cols, _TABLE_VALUES // max(1, t.shape[0])))
        if width <= cols or t.transposed or t.cols is not None:
            values = self.model.read(key)[:, :cols]
        else:
            first = int(self.rng("columns", width).integers(width - cols + 1))
            at = t.rows if isinstance(t.rows, range) else np.asarray(t.rows)
            values = self.model.checkpoint.read(t.name, at, slice(first, first + cols))
        check_finite(self.model, key, values)
        return np.ascontiguousarray(values)

    def entry(self, key: TensorKey) -> TensorEntry:
        """The stored tensor behind a key."""
        return self.model.checkpoint.entries[self.model.tensors[key].name]

    def step(self) -> None:
        """One piece is done."""
        if self._progress:
            self._progress.step()

    def _read(self, key: TensorKey, at: range | np.ndarray | None) -> F32:
        values = self.model.read(key, at)
        check_finite(self.model, key, values)
        return np.ascontiguousarray(values)


def _towers(model: Canonical) -> tuple[TowerFacts, ...]:
    out = []
    for tower, g in model.geometry.items():
        keys = [k for k in model.tensors if k.tower == tower]
        ups = [model.tensors[k].shape[0] for k in keys if k.role in ("mlp.up.weight", "expert.up.weight")]
        tokens = [model.tensors[k].shape[0] for k in keys if k.role == "embed.tokens"]
        out.append(TowerFacts(
            tower, len({k.layer for k in keys if k.layer >= 0}), max((k.expert for k in keys), default=-1) + 1,
            g.width, max(ups, default=None),
            g.heads, g.kv_heads, max(tokens, default=None),
        ))  # fmt: skip
    return tuple(sorted(out, key=lambda t: (t.tower != "text", t.tower)))


def _types(model: Canonical) -> tuple[tuple[str, int, int], ...]:
    entries = model.checkpoint.entries
    tensors, values = Counter[str](), Counter[str]()
    for name in model.mapped:
        tensors[entries[name].dtype] += 1
        values[entries[name].dtype] += entries[name].size
    return tuple((t, tensors[t], n) for t, n in values.most_common())


def _accounting(model: Canonical) -> Accounting:
    c = model.checkpoint
    return Accounting(
        path=printable(c.path, 400), format=c.format, family=model.family, stored=len(model.mapped) + len(model.dropped)
        + len(model.unmapped),
        parameters=sum(c.entries[n].size for n in model.mapped), mapped=len(model.mapped), dropped=model.dropped,
        unmapped=model.unmapped,
        only_here=(), files=tuple(f.name for f in c.files), header_digest=c.header_digest,
    )  # fmt: skip


def _caveats(model: Canonical) -> tuple[str, ...]:
    out = [printable(note, 400) for note in model.checkpoint.notes]
    if model.unmapped:
        out.append(f"{len(model.unmapped)} tensors have names begat does not know and were not looked at.")
    out.append(
        "One model alone cannot name its parent, and a plain fine-tune, a merge or a pruned width leaves no trace in it: "
        "that nothing is found clears nobody."
    )
    return tuple(out)
