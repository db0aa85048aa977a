"""The bench end to end on a tiny family: resumable, honest about what it could not score, the same pictures twice."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")
pytest.importorskip("matplotlib", reason="the lab needs matplotlib: pip install begat[lab]")

from begat import InputError
from begat_lab.bench import run
from begat_lab.bench.bench import bench
from begat_lab.bench.pairs import choose_pairs, open_family
from begat_lab.bench.plots import draw
from begat_lab.bench.report import markdown
from begat_lab.bench.run import RAW, Results, plan
from begat_lab.bench.ship import ship
from begat_lab.bench.summary import summarise
from begat_lab.cli.main import cli
from begat_lab.grow import grow
from begat_lab.methods import METHODS, Score
from begat_lab.pedigree import read_pedigree
from lab.bench.bench_family import tiny

METHODS_USED = ["begat", "std-correlation", "position-cosine", "reef"]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    grow(tiny(), folder)
    return folder


@pytest.fixture(scope="module")
def benched(family: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("out")
    return out, bench(family, out, methods=METHODS_USED, jobs=1).summary


def scores(file: Path) -> dict[tuple[str, str, str], Any]:
    rows = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    return {(r["a"], r["b"], m): e for r in rows if "scores" in r for m, e in r["scores"].items()}


def test_begat_clears_the_strangers_and_finds_the_children(benched: tuple[Path, dict[str, Any]]) -> None:
    _, s = benched
    assert s["pairs"]["hard"] == 6
    assert s["begat"]["alarms"]["hard"]["verdicts"]["k"] == 0
    assert s["methods"]["begat"]["plain"]["auc"]["value"] == 1.0
    assert s["methods"]["begat"]["rows"]["tuned"]["rates"][0]["found"]["k"] == 2
    assert s["methods"]["begat"]["plain"]["rates"][1]["found"] is None  # 0.1 % of six strangers
    assert s["begat"]["twins"]["labels"].keys().isdisjoint({"derived", "no-evidence"})
    assert [one["ladder"] for one in s["begat"]["drift"]] == ["continued training"]
    assert [r["x"] for r in s["begat"]["drift"][0]["rungs"]] == [0.5, 1.5]


def test_what_has_no_score_is_counted_and_left_out(benched: tuple[Path, dict[str, Any]]) -> None:
    """Sampled positions need equal shapes: the child with fewer layers stands apart, and counts neither as found nor as missed."""
    out, s = benched
    m = s["methods"]["position-cosine"]
    assert m["rows"]["pruned-depth"]["scored"] == 0
    assert m["rows"]["pruned-depth"]["not scored"] == 1
    assert "equal shapes" in next(iter(m["rows"]["pruned-depth"]["without"]))
    assert m["plain"]["rates"][0]["found"]["n"] == m["plain"]["scored"] == s["methods"]["begat"]["plain"]["scored"] - 1
    table = (out / "table.md").read_text()
    line = next(text for text in table.splitlines() if text.startswith("| `position-cosine`"))
    assert "| 1 of 6 |" in line


def test_all_files_are_there_and_drawn_alike(benched: tuple[Path, dict[str, Any]], family: Path) -> None:
    out, _ = benched
    pictures = {f.name: f.read_bytes() for f in out.glob("*.svg")}
    assert {"scores.svg", "roc.svg", "calibration.svg", "drift.svg", "hits.svg", "dispute.svg", "curves.svg"} <= set(pictures)
    before = (out / RAW).read_bytes()
    bench(family, out, methods=METHODS_USED, jobs=1)
    assert {f.name: f.read_bytes() for f in out.glob("*.svg")} == pictures
    assert (out / RAW).read_bytes() == before  # nothing was scored twice


def test_pictures_of_all_methods_and_thousands_of_pairs_stay_small(tmp_path: Path) -> None:
    family = read_pedigree("full")
    pairs = choose_pairs(family, frozenset(m.name for m in family.members))
    results, rng = Results(tmp_path / RAW, {"family": "full", "pedigree": ""}), np.random.default_rng(0)
    for p in pairs:
        near = 300.0 * (p.group == "descended")
        said = {m: {"value": float(near + rng.standard_normal())} for m in METHODS}
        verdict = {"value": near, "verdict": "derived" if near else "no-evidence", "log10_p": -near, "hits": 9, "sampled": 90, "expected": 3, "share": 0.9}
        results.scores[p.a, p.b] = {**said, "begat": verdict}
    summary = summarise(family, pairs, results, len(family.members))
    names = draw(family, pairs, results.scores, summary, tmp_path)
    assert {"scores.svg", "roc.svg", "drift.svg"} <= set(names)
    assert max((tmp_path / name).stat().st_size for name in names) < 150_000
    assert [one["ladder"] for one in summary["begat"]["drift"]] == ["bits", "continued at 6.7 x the rate", "continued training", "noise", "pruning"]
    assert "| 3,240 | 3,240 | 0 | 0 |" in markdown(summary)


def test_killed_anywhere_it_goes_on_to_the_same_scores(benched: tuple[Path, dict[str, Any]], family: Path, tmp_path: Path) -> None:
    out, _ = benched
    whole = (out / RAW).read_bytes()
    (tmp_path / RAW).write_bytes(whole[: len(whole) // 3])  # in the middle of a line
    bench(family, tmp_path, methods=METHODS_USED, jobs=2)
    assert scores(tmp_path / RAW) == scores(out / RAW)


def test_asked_again_only_that_method_is_scored(benched: tuple[Path, dict[str, Any]], family: Path, tmp_path: Path) -> None:
    out, _ = benched
    wrong = re.sub(r'("std-correlation": \{"value": )-?[0-9.e-]+', r"\g<1>7", (out / RAW).read_text())
    (tmp_path / RAW).write_text(wrong)
    assert scores(tmp_path / RAW)["stranger-0", "stranger-1", "std-correlation"] == {"value": 7}
    bench(family, tmp_path, methods=METHODS_USED, again=["std-correlation"], jobs=1)
    assert scores(tmp_path / RAW) == scores(out / RAW)


def test_results_of_another_family_are_refused(tmp_path: Path) -> None:
    Results(tmp_path / RAW, {"family": "tiny", "pedigree": "1"})
    with pytest.raises(InputError, match="another family"):
        Results(tmp_path / RAW, {"family": "tiny", "pedigree": "2"})


def test_a_method_that_raises_becomes_a_reason(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(a: object, b: object, rng: object) -> Score:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(run, "_worker", {"folder": family, "probe": np.zeros((2, 2), np.int64), "models": OrderedDict()})
    monkeypatch.setitem(METHODS._items, "awm", type(METHODS["awm"])("t", "p", "weights", broken))
    assert run._guarded("awm", "stranger-0", "stranger-1") == {"reason": "ZeroDivisionError: no luck"}
    assert "missing" in run._guarded("begat", "stranger-0", "missing")["reason"]
    assert run._guarded("std-correlation", "stranger-0", "stranger-1")["value"] <= 1.0


def test_the_labels_do_not_come_from_the_scores(benched: tuple[Path, dict[str, Any]], family: Path) -> None:
    """With every score turned round the groups stay, and begat looks as bad as it should."""
    out, s = benched
    pedigree, finished = open_family(family)
    pairs = choose_pairs(pedigree, finished)
    results = _reopen(out)
    for found in results.scores.values():
        for entry in found.values():
            if entry.get("value") is not None:
                entry["value"] = -entry["value"]
    turned = summarise(pedigree, pairs, results, len(finished))
    assert turned["pairs"] == s["pairs"]
    assert turned["methods"]["begat"]["plain"]["auc"]["value"] == 0.0


def _reopen(out: Path) -> Results:
    head = json.loads((out / RAW).read_text().splitlines()[0])
    return Results(out / RAW, {k: v for k, v in head.items() if k != "bench"})


def test_slow_methods_score_the_same_sample_of_strangers(family: Path, tmp_path: Path) -> None:
    pedigree, finished = open_family(family)
    pairs = choose_pairs(pedigree, finished)
    results = Results(tmp_path / RAW, {"family": "x", "pedigree": "y"})
    hard = {(p.a, p.b) for p in pairs if p.group == "hard"}
    tasks = plan(pairs, ["awm", "mdir"], results, {"mdir": 2})
    slow = {(t.a, t.b) for t in tasks if "mdir" in t.methods}
    assert len(slow & hard) == 2
    assert {(t.a, t.b) for t in tasks if "awm" in t.methods} == {(p.a, p.b) for p in pairs}
    assert slow >= {(p.a, p.b) for p in pairs if p.group != "hard"}
    results.add({"a": tasks[0].a, "b": tasks[0].b, "scores": {"awm": {"value": 1.0}}})
    assert (tasks[0].a, tasks[0].b) not in {(t.a, t.b) for t in plan(pairs, ["awm"], results, {})}


def test_what_ships_is_what_was_measured(benched: tuple[Path, dict[str, Any]], family: Path, tmp_path: Path) -> None:
    out, _ = benched
    pedigree, finished = open_family(family)
    pairs = choose_pairs(pedigree, finished)
    there = {"family": "another", "layers": 1, "pedigree_sha256": "", "versions": {}, "statistics": {}}
    (tmp_path / "p.json").write_text(json.dumps({"about": "", "families": [there, {**there, "family": "tiny"}]}))
    ship(pedigree, pairs, _reopen(out).scores, tmp_path / "p.json")
    families = json.loads((tmp_path / "p.json").read_text())["families"]
    assert [f["family"] for f in families] == ["another", "tiny"]
    assert families[0] == there
    found = families[1]["statistics"]["std-correlation"]
    values = [scores(out / RAW)[p.a, p.b, "std-correlation"]["value"] for p in pairs if p.group == "hard"]
    assert (families[1]["layers"], found["pairs"]) == (3, 6)
    assert (found["percentiles"][0], found["percentiles"][100]) == pytest.approx((min(values), max(values)), abs=1e-4)
    assert found["at_least"]["0.9"] == sum(v >= 0.9 for v in values)


def test_an_unknown_folder_and_an_unfinished_family_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such family.*begat-lab grow"):
        cli.main(["bench", str(tmp_path / "nowhere")], standalone_mode=False)
    with pytest.raises(InputError, match=r"no finished family.*--pedigree"):
        cli.main(["bench", str(tmp_path)], standalone_mode=False)
    with pytest.raises(InputError, match=r"no such method.*found magic"):
        cli.main(["bench", str(tmp_path), "-m", "magic"], standalone_mode=False)
