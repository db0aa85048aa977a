"""How well code ancestry tells reused from independent code, unit by unit, and whom it names.

    python benchmarks/audit/code_ancestry.py [--calibrate] [--out benchmarks/audit/results] [--cache benchmarks/.cache]

Enters: pinned wheels (`code_packages.toml`), labels read off their comments (`code_labels.py`), laundering recipes (`code_launder.py`).  Leaves: a table on
stdout and, with --out, `code_<date>.{json,md}`. With --calibrate the thresholds are chosen on the train families first and written into begat's
`thresholds.toml`. Every figure is of held-out families and held-out independent packages.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import hashlib
import itertools
import json
import platform
import random
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from code_labels import HEAVY, copied_from, copies, families, far, held_out, inherited, model_of  # noqa: E402
from code_launder import HELD_OUT, RECIPES, launder  # noqa: E402

from begat.audit.code.ancestry import by_file, judge, match_file, settled  # noqa: E402
from begat.audit.code.decide import read_thresholds, thresholds  # noqa: E402
from begat.audit.code.features import VIEWS  # noqa: E402
from begat.audit.code.index import build_index, load_index  # noqa: E402
from begat.audit.code.parse import parse  # noqa: E402
from begat.audit.code.types import CodeReference  # noqa: E402

FILES, PARENTS, COPIES, CROSS, EASY = 24, 50, 400, 30, 10
ONE_FILE = (("4.48.2", "llama"), ("5.23.0", "deepseek_v3"), ("5.23.0", "qwen3_next"))
ABSENT = ("verbatim", "rename", "rewrite 10 %")
SHIPPED = HERE.parents[1] / "src" / "begat" / "audit" / "code" / "thresholds.toml"
FALSE_ALARMS, LOOSE, WRONG = 0.01, 0.05, 0.01


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- what is compared ---------------------------------------------------------------------------------------


def fetch(cache: Path) -> list[tuple[dict, dict[str, str]]]:
    """(package, path → source text) of every pinned package that can be had."""
    wheels = cache / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    out = []
    for p in tomllib.loads((HERE / "code_packages.toml").read_text())["package"]:
        pattern = f"{p['name'].replace('-', '_')}-{p['version']}-*.whl"
        if not list(wheels.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(wheels)]
            done = subprocess.run([*command, f"{p['name']}=={p['version']}"], capture_output=True, text=True)
            if done.returncode:
                say(f"SKIPPED {p['name']} {p['version']}: cannot be downloaded ({done.stderr.strip()[-200:]})")
                continue
        wheel = next(iter(wheels.glob(pattern)))
        if (digest := hashlib.sha256(wheel.read_bytes()).hexdigest()) != p["sha256"]:
            say(f"SKIPPED {p['name']} {p['version']}: sha256 is {digest}, pinned {p['sha256']}")
            continue
        with zipfile.ZipFile(wheel) as z:
            out.append((p, {n: z.read(n).decode() for n in sorted(z.namelist()) if re.search(p["files"], n)}))
    return out


class World:
    """The references, their index, their labels and their families."""

    def __init__(self, packages: list[tuple[dict, dict[str, str]]], cache: Path) -> None:
        self.texts = {p["version"]: files for p, files in packages if p["role"] == "reference"}
        self.others = [(p, files) for p, files in packages if p["role"] == "independent"]
        self.modeling = {v: {f: t for f, t in files.items() if "/modeling_" in f} for v, files in self.texts.items()}
        self.index, self.index_seconds, self.index_bytes = self.indexed(cache)
        self.edges, self.of_version = [], collections.defaultdict(list)
        for version, files in self.texts.items():
            for file, text in files.items():
                found = (
                    inherited(file, text)
                    if "/modular_" in file
                    else copied_from(file, text, parse(text).units)
                    if "Copied from" in text
                    else []
                )
                self.edges += found
                self.of_version[version] += found
        self.models = sorted({model_of(f) for files in self.modeling.values() for f in files})
        self.family = families(self.models, self.edges)
        self.copies = copies(self.edges)

    def indexed(self, cache: Path):
        """The index of all versions; kept in the cache under a hash of the texts and of the code that reads them."""
        code = SHIPPED.parent
        h = hashlib.sha256(
            "".join((code / f"{m}.py").read_text("utf-8") for m in ("stream", "parse", "features", "index")).encode()
        )
        for version, files in self.modeling.items():
            h.update(json.dumps([version, files]).encode())
        kept = cache / f"code-index-{h.hexdigest()[:16]}.npz"
        if kept.exists():
            return load_index(kept), float(kept.with_suffix(".seconds").read_text()), kept.stat().st_size
        begin = time.process_time()
        index = build_index([CodeReference("transformers", v, files) for v, files in self.modeling.items()])
        seconds = time.process_time() - begin
        index.save(kept)
        kept.with_suffix(".seconds").write_text(f"{seconds:.0f}")
        return index, seconds, kept.stat().st_size

    def without(self, models: set[str] = frozenset(), versions: set[str] = frozenset()):
        """The index without those models and versions."""
        bad_files = {i for i, (_, path) in enumerate(self.index.files) if model_of(path) in models}
        bad_versions = {i for i, (_, v) in enumerate(self.index.versions) if v in versions}
        places = self.index.places
        return self.index.restricted(~np.isin(places[:, 0], list(bad_files)) & ~np.isin(places[:, 1], list(bad_versions)))

    def linked(self, a: str, b: str) -> bool:
        """Do the labels say that one of the models took code from the other?"""
        return any({model_of(e.file), model_of(e.source_file)} == {a, b} for e in self.edges)

    def kin(self, model: str, unit: str) -> int:
        """Units that the labels join with this one, itself among them."""
        group = self.copies.find((model, unit.split(".")[0]))
        return sum(self.copies.find(x) == group for x in list(self.copies.parent))

    def split(self, model: str) -> str:
        return "held out" if held_out(self.family[model]) else "train"

    def same(self, model: str, unit: str, source_file: str, source_unit: str) -> bool:
        """Is the named unit the labelled one or a copy of it?"""
        mine, theirs = (model, unit.split(".")[0]), (model_of(source_file), source_unit.split(".")[0])
        return model == theirs[0] or self.copies.find(mine) == self.copies.find(theirs)


def row(grade: str, split: str, family: str, unit: str, judged, index) -> dict:
    """One unit of one query."""
    d = judged.decision
    first = index.occurrences[index.bundles.values[index.bundles.offsets[d.bundles[0]]]] if d.bundles else None
    files = [index.files[f][1] for f in d.files]
    return {
        "grade": grade, "split": split, "family": family, "unit": unit, "kind": judged.unit.kind, "status": d.status, "view": d.view,
        "scores": dict(d.scores), "ceilings": dict(d.ceilings), "covered": d.covered,
        "explained": d.explained, "files": files[:50], "group": len(files), "source": first.unit if first else "", "top": float(d.rank.max(initial=0.0)),
        "weight": d.weight,
    }  # fmt: skip


def judged_units(text: str, index, limits):
    units, _ = judge(text, index, limits)
    match = match_file("", index, units, limits)
    return settled(index, units, match, limits), match


# --- the grades ---------------------------------------------------------------------------------------------


def independent(world: World, limits, split: str) -> list[dict]:
    """Hard negatives: other people's code for the same architectures."""
    out = []
    for package, files in world.others:
        for path, text in files.items():
            family = f"{package['name']}:{re.split('[_0-9.]', Path(path).stem.strip('_'))[0]}"
            half = package["half"] if package["half"] != "by family" else "held out" if held_out(family) else "train"
            if half != split:
                continue
            units, match = judged_units(text, world.index, limits)
            rows = [row("independent", split, family, f"{path}:{j.unit.name}", j, world.index) for j in units]
            for r in rows:
                r |= {"file_status": match.status, "package": package["name"]}
            out += rows
    return out


def few_references(world: World, limits) -> list[dict]:
    """Hard negatives again, each against one reference file alone: then nothing tells what is common."""
    out, whole = [], world.index
    for version, model in ONE_FILE:
        alone = {f: t for f, t in world.modeling[version].items() if model_of(f) == model}
        world.index = build_index([CodeReference("transformers", version, alone)])
        out += [r | {"grade": f"one reference file: {model}"} for r in independent(world, limits, "held out")]
    world.index = whole
    return out


def unrelated(world: World, limits, rng) -> list[dict]:
    """Easy negatives: models at distance 5 and more in the graph of all labels."""
    out = []
    chosen = [m for m in world.models if world.split(m) == "held out" and len(far(m, world.models, world.edges, 5)) >= 40]
    for model in rng.sample(chosen, min(EASY, len(chosen))):
        others = far(model, world.models, world.edges, 5)
        index = world.without(set(world.models) - others)
        for file, text in world.modeling["5.23.0"].items():
            if model_of(file) == model:
                out += [
                    row("unrelated", "held out", world.family[model], f"{file}:{j.unit.name}", j, index)
                    for j in judged_units(text, index, limits)[0]
                ]
    return out


def labelled(world: World, limits, version: str, grade: str, rng) -> list[dict]:
    """Units that the reference's own comments or modular files say were copied, their own model taken out of the index.

    For "copied from" also the hardest case: model and labelled source are both out, and other copies of the source may be in.
    """
    of_file = collections.defaultdict(list)
    for e in world.of_version[version]:
        if e.grade == grade and world.split(model_of(e.file)) == "held out" and e.file in world.modeling[version]:
            of_file[e.file].append(e)
    out: list[dict] = []
    for file in rng.sample(sorted(of_file), len(of_file)):
        if len(out) >= COPIES:
            break
        model, text = model_of(file), world.modeling[version][file]
        labels = {e.unit: e for e in of_file[file]}
        index = world.without({model})
        tops = {}
        for j in judged_units(text, index, limits)[0]:
            if (e := labels.get(j.unit.name)) is None:
                continue
            r = row(grade, "held out", world.family[model], f"{file}:{j.unit.name}", j, index)
            r["right"] = bool(r["files"]) and (
                r["files"][0] == e.source_file or world.same(model, j.unit.name, r["files"][0], r["source"])
            )
            r["in group"] = e.source_file in r["files"]
            tops[j.unit.name] = r["top"]
            out.append(r)
        if grade != "copied from":
            continue
        source = collections.Counter(model_of(e.source_file) for e in of_file[file]).most_common(1)[0][0]
        index = world.without({model, source})
        for j in judged_units(text, index, limits)[0]:
            if j.unit.name in tops and model_of(labels[j.unit.name].source_file) == source and world.kin(model, j.unit.name) > 2:
                r = row("sibling", "held out", world.family[model], f"{file}:{j.unit.name}", j, index)
                out.append(r | {"clone": r["top"] >= (1 - limits.naming["margin"]) * tops[j.unit.name]})
    return out


def cross_version(world: World, limits, rng) -> list[dict]:
    """A model as of 4.37.0 against the three later versions: with itself among them, and without."""
    out = []
    models = [m for m in world.models if world.split(m) == "held out"]
    old = {f: t for f, t in world.modeling["4.37.0"].items() if model_of(f) in models and f in world.modeling["4.48.2"]}
    later = world.without(versions={"4.37.0"})
    for file in rng.sample(sorted(old), min(CROSS, len(old))):
        model = model_of(file)
        for grade, index in (("cross-version", later), ("cross-version, model absent", world.without({model}, {"4.37.0"}))):
            for j in judged_units(old[file], index, limits)[0]:
                r = row(grade, "held out", world.family[model], f"{file}:{j.unit.name}", j, index)
                r["right"] = bool(r["files"]) and world.same(model, j.unit.name, r["files"][0], r["source"])
                out.append(r)
    return out


def laundered(world: World, limits, split: str, count: int, rng, recipes=tuple(RECIPES)) -> tuple[list[dict], list[dict]]:
    """Files under every recipe, with their source in the index and without it. Leaves rows of units and rows of files."""
    units, files = [], []
    pool = [f for f in world.modeling["4.48.2"] if world.split(model_of(f)) == split]
    for file in rng.sample(sorted(pool), min(count, len(pool))):
        model, text = model_of(file), world.modeling["4.48.2"][file]
        absent = world.without({model})
        for recipe in recipes:
            made = launder(text, recipe, random.Random(f"{file} {recipe}"))
            top = {}
            for grade, index in (("laundered", world.index), *((("absent", absent),) if recipe in ABSENT else ())):
                found, match = judged_units(made.text, index, limits)
                for j in found:
                    origin = made.origin.get(j.unit.name, "")
                    r = row(grade, split, world.family[model], f"{file}:{origin or j.unit.name}", j, index) | {"recipe": recipe}
                    if grade == "laundered":
                        top[j.unit.name] = r["top"]
                        r["right"] = bool(r["files"]) and (
                            r["files"][0] == file or world.same(model, origin or "?", r["files"][0], r["source"])
                        )
                    else:
                        r["clone"] = r["top"] >= (1 - limits.naming["margin"]) * top[j.unit.name]
                        r["right"] = bool(r["files"]) and world.same(model, origin or "?", r["files"][0], r["source"])
                    units.append(r)
                files.append({
                    "grade": grade, "recipe": recipe, "file": file, "family": world.family[model], "status": match.status, "named": match.source_file,
                    "linked": bool(match.source_file) and world.linked(model, model_of(match.source_file)),
                })  # fmt: skip
    return units, files


def parents(world: World, limits, rng) -> list[dict]:
    """Whole files with their model taken out: where do the labelled parents rank?"""
    wanted = collections.defaultdict(set)
    for e in world.of_version["4.48.2"]:
        if world.split(model_of(e.file)) == "held out" and e.file in world.modeling["4.48.2"]:
            wanted[e.file].add(e.source_file)
    out = []
    for file in rng.sample(sorted(wanted), min(PARENTS, len(wanted))):
        index = world.without({model_of(file)})
        units, match = judged_units(world.modeling["4.48.2"][file], index, limits)
        reused = [
            j.decision for j in units if j.unit.kind != "class" and j.decision.status in ("established", "tie", "indicated")
        ]
        if not reused:
            out.append(
                {"file": file, "family": world.family[model_of(file)], "rank": None, "tied": False, "named": "", "right": False}
            )
            continue
        score = by_file(index, reused)[0].max(1)
        order = [index.files[i][1] for i in np.argsort(-score, kind="stable")]
        tied = [index.files[i][1] for i in np.flatnonzero(score >= score.max() * (1 - limits.naming["margin"]))]
        out.append({
            "file": file, "family": world.family[model_of(file)], "rank": next((i for i, f in enumerate(order, 1) if f in wanted[file]), None),
            "tied": bool(wanted[file] & set(tied)), "group": len(tied), "named": match.source_file, "right": match.source_file in wanted[file],
        })  # fmt: skip
    return out


def versions(world: World, limits, rng) -> list[dict]:
    """Renamed and reordered files of every version: which version is named?"""
    out = []
    common = set.intersection(*(set(files) for files in world.modeling.values()))
    pool = sorted(
        f
        for f in common
        if world.split(model_of(f)) == "held out" and len({world.modeling[v][f] for v in world.modeling}) == len(world.modeling)
    )
    for file in rng.sample(pool, min(20, len(pool))):
        for version, texts in world.modeling.items():
            made = launder(texts[file], "rename+reorder", random.Random(f"{file} {version}"))
            match = judged_units(made.text, world.index, limits)[1]
            out.append({
                "file": file, "family": world.family[model_of(file)], "version": version, "named": match.source_file == file,
                "other": match.source_file not in ("", file), "right": version in match.versions and match.source_file == file, "ties": len(match.versions),
            })  # fmt: skip
    return out


# --- thresholds ---------------------------------------------------------------------------------------------


def calibrate(world: World, rng) -> None:
    """Choose thresholds on train families alone and write them down."""
    text = SHIPPED.read_text("utf-8")
    every = read_thresholds(re.sub(r"(?m)^(reused|indicated) = [0-9.]+", r"\1 = 0.001", text))
    negative = independent(world, every, "train")
    recipes = tuple(r for r in RECIPES if r != HELD_OUT)
    positive = laundered(world, every, "train", FILES, rng, recipes)[0]
    say(f"calibration: {len(negative)} units of independent code, {len(positive)} laundered ones")
    loose = allotted(negative, positive, recipes, LOOSE)
    strict = allotted(negative, positive, recipes, FALSE_ALARMS)
    for level, limit in (("reused", strict), ("indicated", loose)):
        for v in VIEWS:
            text = re.sub(rf"(?ms)(^\[{v}\].*?^{level} = )[0-9.]+", lambda m, x=limit[v]: f"{m[1]}{x:.3f}", text)
    explained, covered = choose([r for r in positive if any(r["scores"][v] >= strict[v] for v in VIEWS)])
    text = re.sub(r"(?m)^explained = [0-9.]+", f"explained = {explained:.2f}", text)
    text = re.sub(r"(?m)^share = [0-9.]+", f"share = {covered:.2f}", text)
    loud = sum(any(r["ceilings"][v] >= strict[v] for v in VIEWS) for r in negative)
    measured = (
        f"{datetime.date.today():%Y-%m-%d}: {FALSE_ALARMS:.0%} of {loud} units of independent code (x-transformers, half of mlx-lm) reach "
        f"`reused`, {LOOSE:.0%} `indicated`; naming: {WRONG:.0%} of train units named wrongly with their source removed, clones aside"
    )
    text = re.sub(r'(?m)^measured = ".*"', f'measured = "{measured}"', text)
    SHIPPED.write_text(text, "utf-8")
    thresholds.cache_clear()
    say(text)


def allotted(negative: list[dict], positive: list[dict], recipes: tuple[str, ...], allowed: float) -> dict[str, float]:
    """Thresholds by which that share of the independent units alarms in any view, shared out over the views so that most laundered units do."""
    bad = {v: np.array([r["scores"][v] for r in negative]) for v in VIEWS}
    ceilings = {v: np.array([r["ceilings"][v] for r in negative]) for v in VIEWS}
    part = [r for r in positive if r["grade"] == "laundered"]
    good = {v: np.array([r["scores"][v] for r in part]) for v in VIEWS}
    which = np.array([recipes.index(r["recipe"]) for r in part])
    best: tuple[float, dict[str, float]] = (-1.0, {})
    ladder = {
        v: [
            float(np.ceil(np.quantile(bad[v], 1 - allowed * s) * 1000) / 1000)
            for s in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        ]
        for v in VIEWS
    }
    for limit in (dict(zip(VIEWS, x, strict=True)) for x in itertools.product(*ladder.values())):
        speaks_up = np.any([ceilings[v] >= limit[v] for v in VIEWS], axis=0)
        alarm = np.any([bad[v] >= limit[v] for v in VIEWS], axis=0)
        if alarm.sum() > allowed * speaks_up.sum():
            continue
        hit = np.any([good[v] >= limit[v] for v in VIEWS], axis=0)
        recall = float(np.mean([hit[which == i].mean() for i in range(len(recipes))]))
        best = max(best, (recall, limit), key=lambda x: x[0])
    say(f"{allowed:.0%}: {best[1]}, recall on train {best[0]:.3f}")
    return best[1]


def choose(rows: list[dict]) -> tuple[float, float]:
    """`explained` and `share` that name most, while at most `WRONG` of the units with their source removed are named and no clone of it."""
    rows = [r for r in rows if r["recipe"] in ABSENT]
    explained = np.array([r["explained"] if r["group"] == 1 else 0.0 for r in rows])
    covered = np.array([r["covered"] for r in rows])
    inside = np.array([r["grade"] == "laundered" for r in rows])
    clone = np.array([r.get("clone", False) for r in rows])
    best = (-1.0, 0.99, 0.99)
    for a in np.arange(0.80, 0.995, 0.01):
        for b in np.arange(0.0, 0.96, 0.05):
            named = (explained >= a) & (covered >= b)
            if (named & ~inside & ~clone).sum() <= WRONG * (~inside).sum():
                best = max(best, (float((named & inside).mean()), round(float(a), 2), round(float(b), 2)))
    say(f"naming: explained {best[1]}, share {best[2]}, names {best[0]:.3f} of reused units")
    return best[1], best[2]


# --- figures ------------------------------------------------------------------------------------------------


def rate(rows: list[dict], hit, rng=np.random.default_rng(0)) -> dict:  # noqa: B008
    """Share of rows that hit, with a 95 % interval by resampling families."""
    if not rows:
        return {"rate": None, "of": 0}
    sums: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    for r in rows:
        sums[r["family"]][0] += bool(hit(r))
        sums[r["family"]][1] += 1
    table = np.array(list(sums.values()))
    drawn = table[rng.integers(len(table), size=(1000, len(table)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return {
        "rate": round(float(table[:, 0].sum() / table[:, 1].sum()), 4),
        "of": len(rows),
        "families": len(table),
        "95 %": [round(float(low), 4), round(float(high), 4)],
    }


def reused(r: dict) -> bool:
    return r["status"] in ("established", "tie")


def named(r: dict) -> bool:
    return r["status"] == "established"


def speaks(r: dict) -> bool:
    return r["status"] != "too generic"


def at_exact_rate(negative: list[dict], positive: list[dict], limits) -> dict:
    """Recall if all thresholds were scaled until exactly 1 % of the held-out independent units alarm."""

    def reach(rows):
        return np.array([max(r["scores"][v] / limits.views[v]["reused"] for v in VIEWS) for r in rows])

    scale = float(np.quantile(reach(negative), 1 - FALSE_ALARMS))
    return {"scale": round(scale, 3)} | rate(
        [r | {"hit": h} for r, h in zip(positive, reach(positive) > scale, strict=True)], lambda r: r["hit"]
    )


def run(world: World, limits) -> tuple[dict, list[dict]]:
    """All figures, and the rows behind them."""
    rng = random.Random(1)
    started = time.process_time()

    def lap(what: str) -> None:
        say(f"{what}: {time.process_time() - started:.0f} s")

    negative = independent(world, limits, "held out")
    lap("independent")
    easy = unrelated(world, limits, rng)
    lap("unrelated")
    copied = labelled(world, limits, "4.48.2", "copied from", rng)
    lap("copied from")
    modular = labelled(world, limits, "5.23.0", "modular", rng)
    lap("modular")
    cross = cross_version(world, limits, rng)
    lap("cross-version")
    made, files = laundered(world, limits, "held out", FILES, rng)
    lap("laundered")
    ranks = parents(world, limits, rng)
    lap("parents")
    which = versions(world, limits, rng)
    lap("versions")
    few = [r for r in few_references(world, limits) if speaks(r)]
    lap("few references")
    every = negative + easy + copied + modular + cross + made
    loud = [r for r in negative if speaks(r)]
    figures: dict = {
        "false alarms": {},
        "recall": {},
        "recall at exactly 1 %": {},
        "naming": {},
        "source absent": {},
        "files": {},
    }
    figures["false alarms"]["independent, all packages"] = rate(loud, reused)
    for package in sorted({r["package"] for r in loud}):
        figures["false alarms"][f"independent: {package}"] = rate([r for r in loud if r["package"] == package], reused)
    figures["false alarms"]["independent, named"] = rate(loud, named)
    for grade in sorted({r["grade"] for r in few}):
        figures["false alarms"][f"independent, {grade}"] = rate([r for r in few if r["grade"] == grade], reused)
        figures["false alarms"][f"independent, {grade}, named"] = rate([r for r in few if r["grade"] == grade], named)
    figures["false alarms"]["unrelated models of the same package"] = rate([r for r in easy if speaks(r)], reused)
    figures["false alarms"]["unrelated, named"] = rate([r for r in easy if speaks(r)], named)
    grades = [("copied from", copied), ("modular", modular), ("cross-version", cross), ("cross-version, model absent", cross)]
    grades += [
        (f"laundered: {x}{' (held out)' if x == HELD_OUT else ''}", [r for r in made if r["recipe"] == x]) for x in RECIPES
    ]
    for name, rows in grades:
        part = [r for r in rows if speaks(r) and r["grade"] == (name.split(":")[0] if name.startswith("laundered") else name)]
        figures["recall"][name] = rate(part, reused)
        figures["recall at exactly 1 %"][name] = at_exact_rate(loud, part, limits)
        figures["naming"][name] = {
            "named": rate(part, named),
            "of those right": rate([r for r in part if named(r)], lambda r: r["right"]),
        }
        if name in ("copied from", "modular"):
            figures["naming"][name]["reused: label is named or in the tie group"] = rate(
                [r for r in part if reused(r)], lambda r: r["in group"] or r["right"]
            )
    names = [r for r in copied + modular + cross + made if named(r) and "right" in r] + [
        r | {"right": False} for r in loud if named(r)
    ]
    figures["naming"]["precision over all of the above and the independent code"] = rate(names, lambda r: r["right"])
    for recipe in ABSENT:
        part = [r for r in made if r["grade"] == "absent" and r["recipe"] == recipe and speaks(r)]
        absent = figures["source absent"]
        absent[f"{recipe}: a file is named"] = rate(part, named)
        absent[f"{recipe}: named, and no clone of the source"] = rate(part, lambda r: named(r) and not r["clone"])
        absent[f"{recipe}: named, neither clone nor labelled copy"] = rate(
            part, lambda r: named(r) and not r["clone"] and not r["right"]
        )
    kin = [r for r in copied if r["grade"] == "sibling" and speaks(r)]
    figures["source absent"]["siblings of a missing third: named"] = rate(kin, named)
    figures["source absent"]["siblings of a missing third: named, and not a clone"] = rate(
        kin, lambda r: named(r) and not r["clone"]
    )
    for grade, recipe in sorted({(f["grade"], f["recipe"]) for f in files}):
        part = [f for f in files if (f["grade"], f["recipe"]) == (grade, recipe)]
        if grade == "laundered":
            figures["files"][f"{recipe}: named rightly"] = rate(part, lambda f: f["named"] == f["file"])
            figures["files"][f"{recipe}: named wrongly"] = rate(part, lambda f: f["named"] not in ("", f["file"]))
        else:
            figures["files"][f"source absent: {recipe}: another is named"] = rate(part, lambda f: f["named"])
            figures["files"][f"source absent: {recipe}: one that no label joins with the source"] = rate(
                part, lambda f: f["named"] and not f["linked"]
            )
    paths = {r["unit"].rsplit(":", 1)[0]: r for r in negative}
    figures["files"]["independent: a file is named"] = rate(list(paths.values()), lambda r: r["file_status"] == "established")
    for k in (1, 5):
        figures["files"][f"own model absent: a labelled parent ranks in the first {k}"] = rate(
            ranks, lambda r, k=k: r["rank"] is not None and r["rank"] <= k
        )
    figures["files"]["own model absent: a labelled parent is first or ties with the first"] = rate(
        ranks, lambda r: r["tied"] or r["rank"] == 1
    )
    figures["files"]["own model absent: named"] = rate(ranks, lambda r: r["named"])
    figures["files"]["own model absent: named, a labelled parent"] = rate([r for r in ranks if r["named"]], lambda r: r["right"])
    figures["files"]["version: file named"] = rate(which, lambda r: r["named"])
    figures["files"]["version: another file named"] = rate(which, lambda r: r["other"])
    figures["files"]["version: right one named, alone or in a tie"] = rate([r for r in which if r["named"]], lambda r: r["right"])
    figures["files"]["version: right one named alone"] = rate(
        [r for r in which if r["named"]], lambda r: r["right"] and r["ties"] == 1
    )
    figures["independent code named, one reference file"] = sorted(
        {f"{r['unit']} → {r['files'][0]} {r['source']}" for r in few if named(r)}
    )
    figures["named among unrelated"] = sorted({f"{r['unit']} → {r['files'][0]} {r['source']}" for r in easy if named(r)})
    figures["named with the source absent, neither clone nor labelled copy"] = sorted(
        {
            f"{r['unit']} → {r['files'][0]} {r['source']}"
            for r in made
            if r["grade"] == "absent" and named(r) and not r["clone"] and not r["right"]
        }
    )
    figures["files named with the source absent"] = sorted(
        {f"{f['file']} → {f['named']}" for f in files if f["grade"] == "absent" and f["named"]}
    )
    figures["top false alarms"] = [
        {k: r[k] for k in ("unit", "status", "view", "scores", "files", "source")} | {"files": r["files"][:3]}
        for r in sorted(
            (r for r in loud if reused(r)), key=lambda r: -max(r["scores"][v] / limits.views[v]["reused"] for v in VIEWS)
        )[:50]
    ]
    return figures, every


def markdown(figures: dict, head: dict) -> str:
    """The figures as tables."""
    lines = ["# Code ancestry, measured", ""] + [f"- {k}: {v}" for k, v in head.items()]

    def cell(f: dict) -> str:
        if f["rate"] is None:
            return "– | – | 0"
        return f"{f['rate']:.3f} | {f['95 %'][0]:.3f} to {f['95 %'][1]:.3f} | {f['of']} ({f['families']})"

    for part, rows in figures.items():
        if isinstance(rows, list):
            continue
        lines += [
            "",
            f"## {part[0].upper()}{part[1:]}",
            "",
            "| what | rate | 95 %, families resampled | units (families) |",
            "|---|---|---|---|",
        ]
        for name, f in rows.items():
            if "rate" in f:
                lines.append(f"| {name} | {cell(f)} |")
            else:
                lines += [f"| {name}: {inner} | {cell(g)} |" for inner, g in f.items()]
    for part, rows in figures.items():
        if isinstance(rows, list) and part != "top false alarms":
            lines += ["", f"## {part[0].upper()}{part[1:]}", "", *[f"- {r}" for r in rows], *([] if rows else ["none"])]
    lines += [
        "",
        "## Top false alarms on independent code",
        "",
        "| unit | status | view | scores | first source |",
        "|---|---|---|---|---|",
    ]
    for r in figures["top false alarms"][:25]:
        scores = ", ".join(f"{v} {s:.2f}" for v, s in r["scores"].items())
        lines.append(
            f"| {r['unit']} | {r['status']} | {r['view']} | {scores} | {r['files'][0].split('/')[-1] if r['files'] else ''} {r['source']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--calibrate", action="store_true", help="choose the thresholds on the train half and write them into begat"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cache", type=Path, default=HERE.parent / ".cache")
    args = parser.parse_args()
    begin = time.process_time()
    world = World(fetch(args.cache), args.cache)
    split, kinds = dict(collections.Counter(world.split(m) for m in world.models)), len(set(world.family.values()))
    say(
        f"index: {world.index_seconds:.0f} s, {len(world.index.occurrences)} units; {len(world.edges)} labels; {kinds} families, models {split}"
    )
    if args.calibrate:
        calibrate(world, random.Random(2))
    limits = thresholds()
    figures, _ = run(world, limits)
    files = {v: len(f) for v, f in world.modeling.items()}
    head = {
        "command": "python benchmarks/audit/code_ancestry.py --out benchmarks/audit/results",
        "date": f"{datetime.date.today():%d %B %Y}",
        "machine": f"{platform.system()} {platform.machine()}, two shared cores; Python {platform.python_version()}, numpy {np.__version__}",
        "packages": ", ".join(
            f"{p['name']} {p['version']}" for p in tomllib.loads((HERE / "code_packages.toml").read_text())["package"]
        ),
        "index": f"{sum(files.values())} modeling files {files} in {world.index_seconds:.0f} s of processor time, {world.index_bytes / 1e6:.1f} MB",
        "families": f"{kinds} (models that share {HEAVY} labelled units and more); models {split}; every figure is of held-out ones",
        "thresholds": limits.measured,
        "processor time": f"{time.process_time() - begin:.0f} s",
    }
    text = markdown(figures, head)
    print(text)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        stem = args.out / f"code_{datetime.date.today():%Y-%m-%d}"
        stem.with_suffix(".md").write_text(text, "utf-8")
        stem.with_suffix(".json").write_text(
            json.dumps({"about": head, "thresholds": {"views": limits.views, "naming": limits.naming}, **figures}, indent=1)
            + "\n",
            "utf-8",
        )


if __name__ == "__main__":
    main()
