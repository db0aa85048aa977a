"""`decompose`: how a child's weights are composed of candidate parents'.

Enters: paths or opened checkpoints of the child, its candidate parents and perhaps their base.  Leaves: a `Decomposition`.  The order of work: open,
resolve, find counterparts, stream rows into sums (`begat.signals.merge`), fit part by part, ask for low rank (`lora.py`) and for dropped
differences (`begat.signals.sparse`), name the recipe (`recipe.py`).  An adapter without its base goes to `adapter.py`.

A recipe describes; it assumes that the parents are relatives (`begat compare` says whether) and has no bearing on a verdict.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import begat
from begat.canon.model import Canonical
from begat.canon.pair import pairings
from begat.canon.resolve import resolve
from begat.canon.roles import ROLES
from begat.errors import InputError, printable
from begat.pipeline.counterparts import Counterparts, counterparts
from begat.pipeline.lora import low_rank
from begat.pipeline.no_counterpart import no_counterpart
from begat.pipeline.recipe import Found, is_explained, recipe
from begat.pipeline.sampling import check_finite, generator
from begat.pipeline.steps import steps
from begat.pipeline.towers import likeliest
from begat.recipes import ArcFit, Coefficient, Decomposition, LowRank, PartFit, SparseFit
from begat.signals.merge import ArcPoint, Fit, Moments, arc_point, fit, moments, pooled
from begat.signals.sparse import rules
from begat.source import open_checkpoint
from begat.source.pieces import runs
from begat.types import F32, Checkpoint, Progress, Rows, TensorKey

PUBLIC_SEED = "begat decompose, version 1"
MOST_PARENTS = 8
#: rows of a matrix and routed experts of a layer in a sampled run; values of a run of rows in a full one
SAMPLED_ROWS, SAMPLED_EXPERTS, RUN_VALUES = 128, 4, 1 << 20
#: values of a tensor, and of all, that dropped differences are looked for in
_SPARSE_EACH, _SPARSE_ALL = 4096, 400_000
#: difference of the shares explained by dropping and by trimming that says nothing; size of kept over other differences from which small ones were trimmed
_ALIKE, _TRIMMED = 0.02, 1.5
_GROUPS = {"attn": "attention", "cross": "attention", "mlp": "MLP", "shared": "MLP", "expert": "experts", "moe": "experts",
           "embed": "embedding", "head": "output head", "chain": "MLP"}  # fmt: skip


def decompose(
    child: str | Path | Checkpoint,
    parents: Sequence[str | Path | Checkpoint],
    base: str | Path | Checkpoint | None = None,
    *,
    full: bool = False,
    nonce: str = "",
    progress: Progress | None = None,
) -> Decomposition:
    """Find how `child` is composed of `parents`.

    Args:
        child: a checkpoint, or a PEFT adapter folder (then the parents are candidate bases).
        parents: one to eight candidates.
        base: the model that the parents were tuned from: differences from it are fitted instead of weights.
        full: read every value instead of 128 public rows of each matrix.
        nonce: mixed into the public seed that chooses the rows.
        progress: told about long work; silent by default.

    Raises:
        InputError: unreadable or damaged input, a checkpoint named twice, no parent.
    """
    start = time.perf_counter()
    _check(child, parents, base)
    with ExitStack() as opened:
        checkpoints = [_open(x, opened) for x in (child, *parents, *(() if base is None else (base,)))]
        mine, theirs = checkpoints[0], checkpoints[1 : 1 + len(parents)]
        root = None if base is None else checkpoints[-1]
        for other in checkpoints[1:]:
            if other.format == "peft":
                raise InputError(
                    "is an adapter folder; parents and base must be models", file=other.path, fix="merge it, or name its base"
                )
        if mine.format == "peft":
            from begat.pipeline.adapter import match_adapter

            return match_adapter(mine, theirs, root, nonce, start)
        return _Run(resolve(mine), theirs, root, full, nonce, progress).result(start)


def _check(
    child: str | Path | Checkpoint, parents: Sequence[str | Path | Checkpoint], base: str | Path | Checkpoint | None
) -> None:
    if not parents:
        raise InputError("no candidate parent is named", fix="begat decompose CHILD --parents P1 P2 …")
    if len(parents) > MOST_PARENTS:
        raise InputError("too many candidate parents", expected=f"at most {MOST_PARENTS}", found=len(parents), fix="name fewer")
    seen: list[Path] = []
    for one in (child, *parents, *(() if base is None else (base,))):
        path = one.path if isinstance(one, Checkpoint) else Path(one)
        if not path.exists():
            raise InputError("no such file or folder", file=path, fix="check the path")
        if any(os.path.samefile(path, other) for other in seen):
            raise InputError("is named twice", file=path, expected="different checkpoints for child, parents and base",
                             fix="a base among the parents is given as --base only")  # fmt: skip
        seen.append(path)


def _open(one: str | Path | Checkpoint, opened: ExitStack) -> Checkpoint:
    checkpoint = one if isinstance(one, Checkpoint) else open_checkpoint(one)
    opened.callback(checkpoint.reader.close)
    return checkpoint


def seed_of(checkpoints: Sequence[Checkpoint], nonce: str) -> int:
    """The public 128-bit seed of a decomposition; the order of the parents does not matter."""
    text = "\n".join([PUBLIC_SEED, *sorted(c.header_digest for c in checkpoints), nonce])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


@dataclass(slots=True)
class _Sums:
    """What one tensor leaves behind."""

    moments: Moments
    sources: tuple[int, ...]


@dataclass(slots=True)
class _Values:
    """Sampled differences from the base, for the sparse rules."""

    child: list[F32] = field(default_factory=list)
    parents: list[F32] = field(default_factory=list)
    steps: list[F32] = field(default_factory=list)
    n: int = 0


class _Run:
    """One decomposition of a model."""

    def __init__(
        self,
        child: Canonical,
        parents: list[Checkpoint],
        base: Checkpoint | None,
        full: bool,
        nonce: str,
        progress: Progress | None,
    ) -> None:
        self.child, self.full, self.nonce, self.progress = child, full, nonce, progress
        everyone = [child.checkpoint, *parents, *(() if base is None else (base,))]
        self.seed, self.checkpoints = seed_of(everyone, nonce), everyone
        self.parents = [likeliest(pairings(resolve(p), child), self.seed).a for p in parents]
        self.base = None if base is None else likeliest(pairings(resolve(base), child), self.seed).a
        self.behind = [counterparts(child, p, self.seed) for p in self.parents]
        self.under = None if self.base is None else counterparts(child, self.base, self.seed)
        self.values = _Values()

    def result(self, start: float) -> Decomposition:
        keys, unmatched = self._keys()
        if not keys:
            again = replay(self.checkpoints, self.seed, self.nonce, self.full, self.base is not None)
            mode = "full" if self.full else "sampled"
            return no_counterpart(self.child, self.parents, self.base, _names(self.checkpoints), unmatched, mode, start, again)
        sums = self._stream(keys)
        parts, explained = self._parts(sums)
        matrices = [s.moments for k, s in sums.items() if not self.child.tensors[k].is_vector]
        whole = fit(pooled(matrices or [s.moments for s in sums.values()], evenly=True))
        ranks = self._ranks()
        found = Found(
            names=_names(self.checkpoints), parents=len(self.parents), base=self.base is not None, whole=whole, parts=parts, low_rank=ranks,
            arc=self._arc(sums), sparse=self._sparse(), whole_parents=[self._whole(p, b) for p, b in zip(self.parents, self.behind, strict=True)],
            explained=explained,
        )  # fmt: skip
        said = recipe(found)
        spread = np.array(
            [[c.value for c in p.coefficients] for p in parts if p.group != "norms and biases"] or [[0.0] * len(self.parents)]
        )
        c = self.child.checkpoint
        return Decomposition(
            child=printable(c.path, 400), parents=tuple(printable(p.checkpoint.path, 400) for p in self.parents),
            base=None if self.base is None else printable(self.base.checkpoint.path, 400), method=said.method, sentence=said.sentence,
            form="plain" if self.base is None else "task", coefficients=coefficients(whole), spread=tuple(map(float, spread.std(0))),
            residual=whole.residual, condition=whole.condition, parts=parts, low_rank=ranks, arc=found.arc, sparse=found.sparse, adapter=(),
            matched=len(keys), unmatched=unmatched, caveats=said.caveats, mode="full" if self.full else "sampled",
            bytes_read=sum(x.reader.bytes_read for x in self.checkpoints), seconds=time.perf_counter() - start,
            replay=replay(self.checkpoints, self.seed, self.nonce, self.full, self.base is not None),
        )  # fmt: skip

    # --- reading ---

    def _keys(self) -> tuple[list[TensorKey], tuple[str, ...]]:
        """Tensors that the base and at least one parent have, and the others."""
        keys, unmatched = [], []
        for key in self.child.tensors:
            has = [b.keys[key] is not None for b in self.behind]
            if not any(has) or (self.under is not None and self.under.keys[key] is None):
                unmatched.append(str(key))
            else:
                keys.append(key)
        unmatched += [printable(n) for n in self.child.unmapped]
        return keys if self.full else self._some_experts(keys), tuple(unmatched)

    def _some_experts(self, keys: list[TensorKey]) -> list[TensorKey]:
        chosen: dict[tuple[str, int], set[int]] = {}
        for key in keys:
            if key.expert >= 0 and (key.tower, key.layer) not in chosen:
                here = sorted({k.expert for k in keys if (k.tower, k.layer) == (key.tower, key.layer) and k.expert >= 0})
                pick = generator(self.seed, "experts", key.tower, key.layer).permutation(len(here))[:SAMPLED_EXPERTS]
                chosen[key.tower, key.layer] = {here[i] for i in pick}
        return [k for k in keys if k.expert < 0 or k.expert in chosen[k.tower, k.layer]]

    def _stream(self, keys: list[TensorKey]) -> dict[TensorKey, _Sums]:
        out: dict[TensorKey, _Sums] = {}
        if self.progress:
            self.progress.start("coefficients", len(keys))
        for key in keys:
            parts = [self._read(key, at) for at in self._rows(key)]
            total = parts[0] if len(parts) == 1 else pooled(parts, evenly=False)
            sources = tuple(-1 if (s := b.keys[key]) is None else s.layer for b in self.behind)
            out[key] = _Sums(total, sources)
            if self.progress:
                self.progress.step()
        if self.progress:
            self.progress.done()
        return out

    def _rows(self, key: TensorKey) -> list[Rows]:
        t = self.child.tensors[key]
        if t.is_vector:
            return list(runs(t.shape[0], RUN_VALUES))
        behind = [(m, b.keys[key]) for m, b in self._others()]
        n = min([t.shape[0], *(m.tensors[s].shape[0] for m, s in behind if s is not None)])
        if not self.full:
            return [np.sort(generator(self.seed, "rows", str(key)).permutation(n)[:SAMPLED_ROWS]).astype(np.int64)]
        step = max(1, RUN_VALUES // max(1, t.shape[1]))
        return [np.arange(i, min(i + step, n), dtype=np.int64) for i in range(0, n, step)]

    def _others(self) -> list[tuple[Canonical, Counterparts]]:
        out = list(zip(self.parents, self.behind, strict=True))
        return out if self.base is None or self.under is None else [*out, (self.base, self.under)]

    def _read(self, key: TensorKey, at: Rows) -> Moments:
        own = self._checked(self.child, key, at)
        theirs = [np.zeros_like(own) if (s := b.keys[key]) is None else self._checked(p, s, at)
                  for p, b in zip(self.parents, self.behind, strict=True)]  # fmt: skip
        if self.base is None or self.under is None:
            return moments(own, theirs)
        source = self.under.keys[key]
        assert source is not None
        root = self._checked(self.base, source, at)
        deltas = [np.zeros_like(own) if b.keys[key] is None else t - root for t, b in zip(theirs, self.behind, strict=True)]
        self._keep(key, at, own, own - root, deltas)
        return moments(own - root, deltas)

    def _checked(self, model: Canonical, key: TensorKey, at: Rows) -> F32:
        values = model.read(key, at)
        check_finite(model, key, values)
        return values

    def _keep(self, key: TensorKey, at: Rows, own: F32, delta: F32, deltas: list[F32]) -> None:
        """A few values of a matrix for the sparse rules."""
        if self.values.n >= _SPARSE_ALL or ROLES[key.role].kind != "matrix" or isinstance(at, range):
            return
        step = steps(self.child, key, at, own)
        if step is None:
            return
        pick = generator(self.seed, "values", str(key)).permutation(delta.size)[:_SPARSE_EACH]
        self.values.child.append(delta.ravel()[pick])
        self.values.parents.append(np.stack([d.ravel()[pick] for d in deltas]))
        self.values.steps.append(step.ravel()[pick])
        self.values.n += len(pick)

    # --- numbers ---

    def _whole(self, parent: Canonical, behind: Counterparts) -> bool:
        """The child has every layer of the parent, once and at its own place."""
        layers = {(k.tower, k.layer) for k in parent.tensors if k.layer >= 0}
        return not behind.moved and layers <= {(k.tower, k.layer) for k in self.child.tensors if k.layer >= 0}

    def _parts(self, sums: dict[TensorKey, _Sums]) -> tuple[tuple[PartFit, ...], list[bool]]:
        """The fit of every part, and whether its parents explain it."""
        groups: dict[tuple[str, int, str], list[TensorKey]] = {}
        for key in sums:
            groups.setdefault((key.tower, key.layer, group_of(key)), []).append(key)
        out, explained = [], []
        for (tower, layer, group), keys in sorted(groups.items(), key=lambda g: (g[0][0] != "text", g[0])):
            together = pooled([sums[k].moments for k in keys], evenly=False)
            found = fit(together)
            explained.append(is_explained(found))
            out.append(PartFit(
                tower, layer, group, sums[keys[0]].sources, coefficients(found), float(found.value_P.sum()), found.residual, found.condition,
                len(keys), found.n, None if self.base is None else together.zero / max(found.n, 1),
            ))  # fmt: skip
        return tuple(out), explained

    def _ranks(self) -> tuple[LowRank, ...]:
        out = [low_rank(self.child, p, b, i, self.seed) for i, (p, b) in enumerate(zip(self.parents, self.behind, strict=True))]
        if self.base is not None and self.under is not None:
            out.append(low_rank(self.child, self.base, self.under, -1, self.seed))
        return tuple(out)

    def _arc(self, sums: dict[TensorKey, _Sums]) -> ArcFit | None:
        if len(self.parents) != 2 or self.base is not None:
            return None
        points = [p for k, s in sums.items() if not self.child.tensors[k].is_vector and (p := arc_point(s.moments)) is not None]
        return arc_fit(points)

    def _sparse(self) -> SparseFit | None:
        if not self.values.child or len(self.parents) > 4:
            return None
        dare, ties = rules(*(np.concatenate(x, axis=-1) for x in (self.values.child, self.values.parents, self.values.steps)))
        if (
            abs(dare.explained - ties.explained) < _ALIKE
        ):  # one parent, or differences that hardly meet: the sizes of what was dropped tell
            best, other = (ties, dare) if dare.size_ratio > _TRIMMED else (dare, ties)
        else:
            best, other = (dare, ties) if dare.explained > ties.explained else (ties, dare)
        return SparseFit(
            best.name,
            tuple(map(float, best.kept_P)),
            tuple(map(float, best.scale_P)),
            best.explained,
            other.explained,
            best.size_ratio,
        )


def arc_fit(points: Sequence[ArcPoint]) -> ArcFit | None:
    """`t` over tensors, and the slope of their coefficients' excess over one against an arc's."""
    from scipy.stats import t as student

    use = [p for p in points if abs(p.arc_excess) > 1e-4 and 0 < p.t < 1]
    if len(use) < 3:
        return None
    t_T, x_T, y_T = (np.array([getattr(p, name) for p in use]) for name in ("t", "arc_excess", "excess"))
    half = float(student.ppf(0.975, len(use) - 1)) * float(t_T.std(ddof=1)) / len(use) ** 0.5
    slope = float(x_T @ y_T) / float(x_T @ x_T)
    error = float(np.square(y_T - slope * x_T).sum() / (len(use) - 1) / (x_T @ x_T)) ** 0.5
    return ArcFit(float(t_T.mean()), float(t_T.mean()) - half, float(t_T.mean()) + half, slope, error, len(use))


def coefficients(found: Fit) -> tuple[Coefficient, ...]:
    """A fit's coefficients as results."""
    return tuple(
        Coefficient(float(v), float(lo), float(hi), bool(ok))
        for v, lo, hi, ok in zip(found.value_P, found.low_P, found.high_P, found.identified_P, strict=True)
    )


def group_of(key: TensorKey) -> str:
    """The group of tensors that a part pools."""
    if ROLES[key.role].kind in ("gain", "bias"):
        return "norms and biases"
    return _GROUPS.get(key.role.split(".")[0], "other")


def _names(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Short names: the last part of each path, or more where these are equal."""
    paths = [printable(os.path.abspath(c.path)).split(os.sep) for c in checkpoints]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(p[-depth:]) for p in paths]
        if len(set(names)) == len(names):
            return names
    return ["/".join(p) for p in paths]


def replay(checkpoints: Sequence[Checkpoint], seed: int, nonce: str, full: bool, with_base: bool) -> dict[str, object]:
    """What another examiner needs to read the same rows."""
    return {
        "tool": "begat", "version": begat.__version__, "public_seed": PUBLIC_SEED, "seed": f"{seed:032x}", "nonce": nonce, "full": full,
        "base_given": with_base, "models": [{"path": str(c.path), "header_digest": c.header_digest, "bytes": c.nbytes} for c in checkpoints],
    }  # fmt: skip
