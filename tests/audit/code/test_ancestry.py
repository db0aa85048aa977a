"""What code ancestry says of releases whose origin is known: reused, laundered, shared by many, independent, or from a source that is missing."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from begat.audit.code import CodeReference, CodeReport, UnitMatch, build_index, code_ancestry, load_index
from begat.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
sys.path += [
    str(ROOT / "benchmarks" / "audit"),
    str(Path(__file__).parent),
]  # last: a file there is called like a module of Python's

from code_launder import HELD_OUT, RECIPES, launder  # noqa: E402
from written import CONVOLVED, GENERIC, INDEPENDENT, PACKAGE, ROUTED, WINDOWED, later, model, otherwise  # noqa: E402

RUDA = "models/ruda/modeling_ruda.py"
V1 = CodeReference("pack", "1.0", PACKAGE)
V2 = CodeReference("pack", "2.0", {path: later(text) for path, text in PACKAGE.items()})


def audit(folder: Path, text: str, *references: CodeReference) -> CodeReport:
    (folder / "modeling_release.py").write_text(text)
    return code_ancestry(folder, references)


def unit(report: CodeReport, name: str) -> UnitMatch:
    return next(u for u in report.units if u.unit == name)


def named(report: CodeReport) -> set[str]:
    return {u.sources[0].file for u in report.units if u.status == "established"}


def test_a_verbatim_copy_is_established_with_file_and_lines(tmp_path: Path) -> None:
    report = audit(tmp_path, PACKAGE[RUDA].replace("Ruda", "Mine"), V1)
    match = unit(report, "MineMixer.forward")
    assert match.status == "established"
    assert match.sources[0].file == RUDA and match.sources[0].unit == "RudaMixer.forward"
    assert match.lines == match.sources[0].lines
    assert match.share == pytest.approx(1.0)
    assert report.files[0].source_file == RUDA and report.files[0].status == "established"
    assert report.notes == ()


@pytest.mark.parametrize("recipe", [r for r in RECIPES if "60" not in r])
@pytest.mark.parametrize(
    ("path", "main"), [(p, f"{n}.forward") for p, n in zip(PACKAGE, ("RudaMixer", "WembaWindow", "ScovaScan"), strict=True)]
)
def test_laundering_is_seen_and_the_right_file_named_or_none(tmp_path: Path, recipe: str, path: str, main: str) -> None:
    made = launder(PACKAGE[path], recipe, random.Random(7))
    report = audit(tmp_path, made.text, V1)
    hits = [u for u in report.units if made.origin.get(u.unit) == main or made.origin.get(u.unit) == main.split(".")[0]]
    assert any(u.status in ("established", "tie") and u.family == "pack" for u in hits), [
        (u.unit, u.status, u.scores) for u in hits
    ]
    assert named(report) <= {path} and report.files[0].source_file in ("", path)
    if recipe != HELD_OUT:
        assert named(report) == {path}


def test_helpers_that_all_models_share_name_no_source(tmp_path: Path) -> None:
    report = audit(tmp_path, PACKAGE[RUDA], V1)
    for name in ("turn_half", "widen_groups", "slopes_by_head"):
        match = unit(report, name)
        assert match.status in ("tie", "too generic")
    shared = unit(report, "slopes_by_head")
    assert shared.status == "tie" and shared.group == 3 and shared.family == "pack"
    assert {s.file for s in shared.sources} == set(PACKAGE)


def test_independent_code_of_the_same_architectures_is_not_found(tmp_path: Path) -> None:
    report = audit(tmp_path, INDEPENDENT, V1, V2)
    assert {u.status for u in report.units} <= {"not found", "too generic"}
    assert unit(report, "SparseLayer.forward").status == "not found"
    assert all(u.sources == () and u.family == "" for u in report.units)
    assert report.files[0].source_file == ""


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_matched_version_is_named_and_files_that_did_not_change_tie(tmp_path: Path, version: str) -> None:
    of = {"1.0": V1, "2.0": V2}[version]
    made = launder(of.files[RUDA], "rename+reorder", random.Random(3))
    report = audit(tmp_path, made.text, V1, V2)
    assert report.files[0].versions == (version,)
    route = next(u for u in report.units if made.origin.get(u.unit) == "RudaMixer.route")
    assert [s.version for s in route.sources] == [version]
    other = audit(tmp_path, PACKAGE["models/scova/modeling_scova.py"], V1, V2)
    assert other.files[0].versions == ("1.0", "2.0")


def test_with_the_true_source_removed_no_file_is_named(tmp_path: Path) -> None:
    for path in PACKAGE:
        rest = CodeReference("pack", "1.0", {p: t for p, t in PACKAGE.items() if p != path})
        for recipe in ("verbatim", "rename"):
            report = audit(tmp_path, launder(PACKAGE[path], recipe, random.Random(1)).text, rest)
            assert named(report) == set()
            assert report.files[0].source_file == "" and report.files[0].versions == ()


def test_two_siblings_of_a_missing_third_accuse_nobody(tmp_path: Path) -> None:
    sibling = otherwise(model(ROUTED, "Kin"))
    cousin = later(model(ROUTED, "Kith"))
    twins = CodeReference("other", "3", {"models/kin/modeling_kin.py": sibling, "models/kith/modeling_kith.py": cousin})
    report = audit(tmp_path, PACKAGE[RUDA], twins)
    assert named(report) == set()
    assert unit(report, "RudaMixer.route").status in ("tie", "indicated") and unit(report, "RudaMixer.route").family == "other"
    assert report.files[0].source_file == ""


def test_one_release_file_from_two_sources_is_told_apart_by_unit(tmp_path: Path) -> None:
    report = audit(tmp_path, model(WINDOWED + CONVOLVED, "Both"), V1)
    assert unit(report, "BothWindow.forward").sources[0].file == "models/wemba/modeling_wemba.py"
    assert unit(report, "BothScan.forward").sources[0].file == "models/scova/modeling_scova.py"


def test_comments_docstrings_headers_and_class_names_are_no_evidence(tmp_path: Path) -> None:
    clue = f'# Copyright 2024 The Ruda team\n# Copied from models.ruda.modeling_ruda.RudaMixer\n"""Ruda."""\n{INDEPENDENT.replace("SparseLayer", "RudaMixer")}'
    plain, hinted = audit(tmp_path, INDEPENDENT, V1), audit(tmp_path, clue, V1)
    assert [u.scores for u in plain.units] == [u.scores for u in hinted.units]


def test_spans_lie_side_by_side(tmp_path: Path) -> None:
    made = launder(PACKAGE[RUDA], "rename", random.Random(5))
    report = audit(tmp_path, made.text, V1)
    match = next(u for u in report.units if made.origin.get(u.unit) == "RudaMixer.forward")
    span = match.spans[0]
    assert match.lines[0] <= span.lines[0] <= span.lines[1] <= match.lines[1]
    assert match.sources[0].lines[0] <= span.source_lines[0] <= span.source_lines[1] <= match.sources[0].lines[1]
    assert span.text == "\n".join(made.text.splitlines()[span.lines[0] - 1 : span.lines[1]][:12])
    wanted = next(i for i, line in enumerate(PACKAGE[RUDA].splitlines(), 1) if "index_add_" in line)
    assert any(s.source_lines[0] <= wanted <= s.source_lines[1] for s in match.spans)


def test_an_index_read_back_says_the_same_without_text(tmp_path: Path) -> None:
    index = build_index([V1, V2])
    index.save(tmp_path / "pack.npz")
    release = tmp_path / "release"
    release.mkdir()
    from_text = audit(release, PACKAGE[RUDA], V1, V2)
    from_file = code_ancestry(release, load_index(tmp_path / "pack.npz"))
    assert [(u.unit, u.status, u.score, u.sources) for u in from_file.units] == [
        (u.unit, u.status, u.score, u.sources) for u in from_text.units
    ]
    assert from_file.digest == from_text.digest
    assert b"index_add_" not in (tmp_path / "pack.npz").read_bytes()
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match="not an index"):
        load_index(tmp_path / "bad.npz")


def test_the_digest_names_the_reference_set(tmp_path: Path) -> None:
    assert build_index([V1]).digest != build_index([V2]).digest
    assert build_index([V1]).digest == build_index([CodeReference("pack", "1.0", dict(reversed(PACKAGE.items())))]).digest


def test_no_references_and_no_python_are_answered(tmp_path: Path) -> None:
    assert {u.status for u in audit(tmp_path, PACKAGE[RUDA]).units} <= {"not found", "too generic"}
    (tmp_path / "modeling_release.py").unlink()
    assert code_ancestry(tmp_path, [V1]).units == ()
    with pytest.raises(InputError, match="no such release"):
        code_ancestry(tmp_path / "absent", [V1])


def test_a_restricted_index_answers_as_if_the_rest_were_unknown() -> None:
    from begat.audit.code.ancestry import judge
    from begat.audit.code.decide import thresholds

    index = build_index([V1, V2])
    own = [i for i, (_, path) in enumerate(index.files) if path == RUDA]
    rest = index.restricted(~np.isin(index.places[:, 0], own))
    assert {d.status for j in judge(PACKAGE[RUDA], rest, thresholds())[0] if "Mixer" in j.unit.name and (d := j.decision)} <= {
        "not found",
        "too generic",
    }
    only_second = index.restricted(index.places[:, 1] == 1)
    found = {j.unit.name: j.decision for j in judge(V2.files[RUDA], only_second, thresholds())[0]}
    assert found["RudaMixer.route"].files == (own[0],)
    assert {index.occurrences[o].version for o in only_second.bundles.values} == {1}


def test_a_short_function_alone_names_nothing(tmp_path: Path) -> None:
    one = CodeReference("pack", "1.0", {RUDA: PACKAGE[RUDA]})
    helper = "def widen_groups" + GENERIC.split("def widen_groups")[1].split("def slopes_by_head")[0]
    report = audit(tmp_path, helper, one)
    assert unit(report, "widen_groups").share == pytest.approx(1.0)
    assert unit(report, "widen_groups").status in ("tie", "too generic") and report.files[0].source_file == ""
    assert unit(audit(tmp_path, PACKAGE[RUDA], one), "widen_groups").status in ("established", "too generic")


def test_a_unit_is_not_named_while_much_of_the_release_is_explained_by_nothing(tmp_path: Path) -> None:
    """The release took two blocks from a model that is missing; of one of them the references hold two edited copies, of the other the same text."""
    release = model(ROUTED + CONVOLVED, "Own")
    copies = {"a.py": later(model(ROUTED, "Kith")), "b.py": model(CONVOLVED, "Scova"), "c.py": otherwise(model(ROUTED, "Kin"))}
    edited = CodeReference("other", "1", copies)
    report = audit(tmp_path, release, edited)
    assert unit(report, "OwnScan.forward").status == "tie" and unit(report, "OwnScan.forward").family == "other"
    assert "missing" in unit(report, "OwnScan.forward").why
    both = CodeReference("other", "2", {"a.py": model(ROUTED, "Kith"), "b.py": model(CONVOLVED, "Scova")})
    again = audit(tmp_path, release, both)
    assert unit(again, "OwnScan.forward").status == "established" and unit(again, "OwnMixer.route").status == "established"
