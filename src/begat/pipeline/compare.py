"""`compare`: the conductor of the main job.

Enters: two paths or opened checkpoints.  Leaves: a `Verdict`.  The order of work: open, resolve, order tests, map, equality,
alignment where those left something open (`align.py`), published statistics beside, judge.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import begat
from begat.alignment import Alignment
from begat.canon.function import config_differences
from begat.canon.model import Canonical
from begat.canon.pair import pairings
from begat.canon.resolve import resolve
from begat.errors import InputError, printable
from begat.pipeline.align import align as run_alignment
from begat.pipeline.align import both_name_tokens, mixed_log10_e, mixed_log10_p, same_build
from begat.pipeline.aligned_parts import aligned_parts, held_layers, open_towers
from begat.pipeline.beside import published_statistics
from begat.pipeline.claims import claims_of_comparison
from begat.pipeline.coverage import coverage
from begat.pipeline.equal_parts import equal_parts
from begat.pipeline.equality import different, equality
from begat.pipeline.exact import ExactResult
from begat.pipeline.expert_partners import NOTHING_LOOKED_AT, Matched, match_experts
from begat.pipeline.facts import gather_facts, power_statement, trained_state
from begat.pipeline.headline import config_words, coverage_words, equal_words
from begat.pipeline.inherit import full_map, sampled_map
from begat.pipeline.kind import describe
from begat.pipeline.parts import find_parts, tables_open
from begat.pipeline.same_content import SameContent, content_words, equal_by_content, same_content, unresolved
from begat.pipeline.sampling import PUBLIC_SEED, seed_of
from begat.pipeline.towers import Chosen, Copies, choose, copies, paid
from begat.pipeline.untestable import nothing_comparable
from begat.pipeline.words import caveats
from begat.source import open_checkpoint
from begat.types import Accounting, Checkpoint, EqualityResult, MapCell, PartResult, Progress, TensorKey, Verdict
from begat.verdict import POLICY, Judgement, judge
from begat.verdict.kinds import Description

#: checkpoints up to this size together get a full map without being asked for one
SMALL = 64 << 20
MAPS = ("auto", "sampled", "full", "none")


def compare(
    a: str | Path | Checkpoint,
    b: str | Path | Checkpoint,
    *,
    base: str | Path | None = None,
    map: str = "auto",
    nonce: str = "",
    published: bool = False,
    align: bool = True,
    progress: Progress | None = None,
) -> Verdict:
    """Compare two checkpoints and judge whether one was made from the other.

    Args:
        a, b: weight files or folders, or opened checkpoints.
        base: the base model of whichever of the two is a PEFT adapter folder.
        map: "sampled" (a few rows of every tensor), "full" (every value), "none", or "auto": full for checkpoints of up to
            64 MiB together, else sampled.
        nonce: mixed into the public seed that chooses the sampled rows.
        published: compute published statistics even where they must read all attention weights.
        align: look behind disguises and changes of shape where the tests at equal index find nothing or leave parts open. Strangers
            then take seconds instead of less than one.
        progress: told about long work; silent by default.

    Returns:
        a `Verdict`, whose `log10_e` is an e-value: under independence it reaches 10^k with probability at most 10^-k.

    Raises:
        InputError: unreadable or damaged input, the same path twice. Two models with nothing comparable are no error: the verdict
            is then "cannot-test", or "identical" where they hold the same tensors.
    """
    if map not in MAPS:
        raise InputError("unknown kind of map", expected=" / ".join(MAPS), found=map)
    start = time.perf_counter()
    ca, cb = _open_two(a, b, base)
    try:
        whole = same_content(ca, cb, progress)
        try:
            return _compare(ca, cb, map, nonce, published, align, base, progress, start, whole)
        except InputError:
            if whole is None:
                raise
            # begat cannot make sense of them, yet they are equal
            return _compare(ca, cb, map, nonce, published, align, base, progress, start, whole, unresolved)
    finally:
        ca.reader.close()
        cb.reader.close()


def _compare(
    ca: Checkpoint, cb: Checkpoint, map: str, nonce: str, published: bool, align: bool, base: str | Path | None,
    progress: Progress | None, start: float, whole: SameContent | None, read_names: Callable[[Checkpoint], Canonical] = resolve,
) -> Verdict:  # fmt: skip
    found = pairings(read_names(ca), read_names(cb))
    seed = seed_of(found[0].a, found[0].b, nonce)
    mode = ("full" if ca.nbytes + cb.nbytes <= SMALL else "sampled") if map == "auto" else map
    adapter = _adapter_alone(ca, cb)
    nothing = Chosen(found[0].a, found[0].b, ExactResult((), None, None, 0))
    chosen = nothing if adapter else choose(found, seed, progress)
    ma, mb, exact = chosen.a, chosen.b, chosen.exact
    cells: tuple[MapCell, ...] = ()
    experts = match_experts(ma, mb, exact.axes, seed, mode == "full") if _found_at_index(exact) else NOTHING_LOOKED_AT
    posed = experts.posed or ma  # A's experts under B's numbers
    if not adapter:
        cells = full_map(posed, mb, progress) if mode == "full" else sampled_map(posed, mb, seed)
    same = equality(ma, mb, cells, seed, mode == "full", progress) if experts.posed is None else different(cells, mode == "full")
    same = same if whole is None else EqualityResult("identical", True, whole.values, 1.0, "", "", ())
    parts = find_parts(exact.axes, cells, POLICY, _moved(ma, mb), experts)
    alignment = None if adapter or not align else _aligned(ma, mb, exact, same, parts, experts, seed, mode, progress)
    alignment, again = paid(alignment, chosen.price), Copies((), (), ma) if adapter else copies(chosen, seed)
    read = coverage(again.a, mb, (*exact.axes, *again.axes), alignment, tested=same is None or same.relation not in ("identical", "on-grid"))
    read = read if whole is None else (replace(read[0], gaps=(), only_here=()), replace(read[1], gaps=(), only_here=()))
    power = power_statement(exact.axes, read)
    beside = published_statistics(ma, mb, published) if cells else ()
    trained = trained_state(ma, mb, exact, parts, cells, seed)
    parts = (*tables_open(aligned_parts(parts, alignment), ma, mb), *again.parts)
    parts = parts if whole is None else equal_by_content(parts)
    untestable = adapter or nothing_comparable(ma, mb, exact.axes, alignment)
    facts = gather_facts(ma, mb, exact, same, parts, power, trained, alignment, untestable, read)
    judgement = judge(facts)
    told = _told(ma, mb, judgement, cells, seed, mode, exact, experts)
    equal = equal_parts(ma, mb, cells) if judgement.verdict in ("no-evidence", "cannot-test") and not adapter else ()
    told_apart = config_differences(ca.config, cb.config) if judgement.verdict in ("identical", "re-encoded") else ()
    more = (_from_base(ca, cb, base), equal_words(equal), config_words(told_apart), "" if untestable else coverage_words(read))
    return Verdict(
        verdict=judgement.verdict,
        sentence=" ".join(filter(None, (judgement.sentence, content_words(whole), *more))),
        a=_path(ca),
        b=_path(cb),
        log10_e=mixed_log10_e(exact.log10_e, alignment.log10_e if alignment else None),
        log10_p=mixed_log10_p(exact.log10_p, alignment.log10_e if alignment else None),
        direction=told.direction,
        direction_why=told.why,
        kind=told.kind,
        signs=tuple(e.words for e in told.evidence),
        axes=exact.axes,
        parts=parts,
        experts=experts.matches,
        cells=cells if mode != "none" else (),
        map_mode=mode,
        equality=same,
        trained=trained,
        alignment=alignment,
        beside=beside,
        power=power,
        accounting=(_accounting(ma, mb, experts.only_a(ma)), _accounting(mb, ma, experts.only_b(mb))),
        caveats=(*caveats(ma, mb, judgement.verdict, same, alignment), *exact.notes, *chosen.notes),
        bytes_read=ca.reader.bytes_read + cb.reader.bytes_read + (whole.bytes_read if whole else 0),
        bytes_total=ca.nbytes + cb.nbytes,
        seconds=time.perf_counter() - start,
        replay=_replay(ca, cb, seed, map, nonce, published, align, base, exact),
        coverage=read,
        claims=claims_of_comparison(judgement.verdict, parts, alignment, told, same, read, equal, experts.matches, told_apart),
    )


def _aligned(
    ma: Canonical, mb: Canonical, exact: ExactResult, same: EqualityResult | None, parts: Sequence[PartResult], experts: Matched,
    seed: int, mode: str, progress: Progress | None,
) -> Alignment | None:  # fmt: skip
    """Alignment, where the plain tests found nothing or could not speak of some parts."""
    if same is not None and same.relation in ("identical", "on-grid"):
        return None
    if not any(x.tests for x in exact.axes) and not _shared_widths(ma, mb) and not both_name_tokens(ma, mb):
        return None  # nothing is known to correspond
    towers = open_towers(parts)
    text = all(any(k.tower == "text" for k in m.tensors) for m in (ma, mb))
    if not _found_at_index(exact):
        why = "the order tests at equal index found nothing"
        return run_alignment(ma, mb, seed, why, None, towers, text, progress) if text or towers else None
    open_parts = [p for p in parts if p.tower == "text" and p.layer >= 0 and p.status != "dependent"]
    skip = ("residual",) if experts.posed is None else ("residual", "experts", "expert-units")
    reordered = [x for x in exact.axes if x.tests and x.axis not in skip and x.hits < POLICY.initial_hits * x.sampled]
    text = text and bool(open_parts or reordered or not same_build(ma, mb))
    if mode != "none" and (text or towers):
        why = "some parts show no order in common, or have no counterpart at their own index"
        return run_alignment(ma, mb, seed, why, held_layers(exact, parts), towers, text, progress)
    return None


def _told(
    ma: Canonical, mb: Canonical, judgement: Judgement, cells: tuple[MapCell, ...], seed: int, mode: str, exact: ExactResult,
    experts: Matched,
) -> Description:  # fmt: skip
    """Kind and direction: the decision table's, or what signs in the weights say, where dependence was found at equal index and every value was read."""
    if mode != "full" or not _found_at_index(exact) or judgement.kind or judgement.verdict == "shared-initialisation":
        return Description(judgement.kind, judgement.direction, judgement.direction_why, ())
    told = describe(ma, mb, cells, seed, experts, exact.axes)
    return told if told.direction != "undetermined" else replace(told, why=told.why or judgement.direction_why)


def _found_at_index(exact: ExactResult) -> bool:
    """The order tests at equal index are enough for dependence by themselves."""
    plain = mixed_log10_e(exact.log10_e, None)
    return plain is not None and plain >= POLICY.dependence_log10_e


def _moved(a: Canonical, b: Canonical) -> frozenset[str]:
    """Towers of unequal depth."""
    depth = [Counter(t for t, _ in {(k.tower, k.layer) for k in m.tensors if k.layer >= 0}) for m in (a, b)]
    return frozenset(t for t in depth[0] if depth[0][t] != depth[1].get(t, depth[0][t]))


def _open_two(a: str | Path | Checkpoint, b: str | Path | Checkpoint, base: str | Path | None) -> tuple[Checkpoint, Checkpoint]:
    paths = [x.path if isinstance(x, Checkpoint) else Path(x) for x in (a, b)]
    if paths[0].exists() and paths[1].exists() and os.path.samefile(*paths):
        raise InputError("is named twice", file=paths[0], expected="two checkpoints", found="the same path for A and B",
                         fix="name the other checkpoint")  # fmt: skip
    ca = a if isinstance(a, Checkpoint) else open_checkpoint(a, base)
    cb = b if isinstance(b, Checkpoint) else open_checkpoint(b, base)
    theirs = {f.resolve() for f in cb.files}
    shared = next((f for f in ca.files if f.resolve() in theirs), None)
    if shared is not None and "peft" not in (ca.format, cb.format):
        raise InputError("is the weight file of both A and B", file=shared, fix="name two different checkpoints")
    if base is not None and "peft" not in (ca.format, cb.format):
        raise InputError("a base was given, but neither checkpoint is a PEFT adapter folder", file=base, fix="drop --base")
    return ca, cb


def _adapter_alone(ca: Checkpoint, cb: Checkpoint) -> str:
    """Why an adapter without its base stops the test, "" otherwise."""
    for name, c in (("A", ca), ("B", cb)):
        if c.format == "peft" and any("without its base" in note for note in c.notes):
            return f"{name} is an adapter without its base model; name the base with --base"
    return ""


def _from_base(ca: Checkpoint, cb: Checkpoint, base: str | Path | None) -> str:
    """A sentence where an adapter was laid on the very model that it is compared with; "" else."""
    for one, other in ((ca, cb), (cb, ca)):
        if base is not None and one.format == "peft" and other.format != "peft" and os.path.samefile(base, other.path):
            return (
                "This follows from --base, since an adapter was laid on the model that it is compared with; whether it was made "
                "for that model is asked by begat decompose."
            )
    return ""


def _shared_widths(a: Canonical, b: Canonical) -> bool:
    return any(t in b.geometry and g.width == b.geometry[t].width for t, g in a.geometry.items())


def _accounting(model: Canonical, other: Canonical, experts: frozenset[TensorKey] | None) -> Accounting:
    """experts: keys of experts that the other lacks, where experts were matched."""
    c = model.checkpoint
    keys = [k for k in model.tensors if (k not in other.tensors if k.expert < 0 or experts is None else k in experts)]
    only = tuple(str(k) for k in sorted(keys))
    return Accounting(
        path=_path(c), format=c.format, family=model.family,
        stored=len(model.mapped) + len(model.dropped) + len(c.skipped) + len(model.unmapped),
        parameters=sum(c.entries[n].size for n in model.mapped), mapped=len(model.mapped),
        dropped=(*model.dropped, *c.skipped),
        unmapped=model.unmapped, only_here=only, files=tuple(f.name for f in c.files), header_digest=c.header_digest,
    )  # fmt: skip


def _path(c: Checkpoint) -> str:
    return printable(c.path, 400)


def _replay(
    ca: Checkpoint, cb: Checkpoint, seed: int, map: str, nonce: str, published: bool, align: bool, base: str | Path | None, exact: ExactResult
) -> dict[str, Any]:  # fmt: skip
    return {
        "tool": "begat",
        "version": begat.__version__,
        "public_seed": PUBLIC_SEED,
        "seed": f"{seed:032x}",
        "nonce": nonce,
        "map": map,
        "published": published,
        "align": align,
        "base": None if base is None else str(base),
        "a": {"path": str(ca.path), "header_digest": ca.header_digest, "sample_digest": exact.digests[0], "bytes": ca.nbytes},
        "b": {"path": str(cb.path), "header_digest": cb.header_digest, "sample_digest": exact.digests[1], "bytes": cb.nbytes},
        "rounds": exact.rounds,
    }
