"""An audit fails closed: weights that were not compared are said in the first line, exit 3, and in every report; nothing is left out in silence."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from begat.audit.checkpoints import held
from begat.audit.folder import open_tree
from begat.audit.run import audit
from begat.audit.types import Audit
from begat.audit.weights import relation_of
from begat.errors import InputError
from begat.index import manage
from begat.report.audit_cyclonedx import cyclonedx_text
from begat.report.audit_html import render_audit_html
from begat.report.audit_intoto import statement_text
from begat.report.audit_json import dumps, load_schema
from begat.report.audit_sarif import sarif_text
from begat.report.audit_text import render_audit
from begat.verdict import POLICY
from builders import llama, noisy, write

SMALL = {"num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 128}
RNG = np.random.default_rng(5)
BASE, CONFIG = llama(RNG, **SMALL)
OTHER, _ = llama(RNG, **SMALL)
CARD = "---\nlicense: mit\n---\n# M\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base", BASE, CONFIG)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release that has nothing to do with `base`."""
    folder = write(tmp_path / "release", OTHER, CONFIG)
    (folder / "README.md").write_text(CARD)
    return folder


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def renamed(folder: Path) -> None:
    """Own weights, so that nothing is equal, under names that nobody knows."""
    tensors = noisy(load_file(folder / "model.safetensors"), np.random.default_rng(1), 0.1)
    save_file({f"x.{i}": w for i, w in enumerate(tensors.values())}, folder / "model.safetensors")


def unknown_format(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "flax_model.tflite")


def empty_file(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")


def missing_shard(folder: Path) -> None:
    names = dict.fromkeys(BASE, "model-00002-of-00002.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def only_an_index(folder: Path) -> None:
    missing_shard(folder)
    (folder / "model-00001-of-00002.safetensors").unlink()


def link_out(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    os.symlink(folder.parent / "elsewhere.safetensors", folder / "model.safetensors")


def below(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        shutil.copy(folder / "model.safetensors", folder / name)
        shutil.copy(folder / "config.json", folder / name)
    (folder / "model.safetensors").unlink()


def one_below(folder: Path) -> None:
    below(folder)
    shutil.rmtree(folder / "two")


def side_by_side(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "first.safetensors")
    (folder / "model.safetensors").rename(folder / "second.safetensors")


def gone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def adapter(folder: Path) -> None:
    gone(folder)
    low = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{x}.weight": np.ones(s, np.float32) for x, s in (("A", (2, 64)), ("B", (96, 2)))}
    save_file(low, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}))


def wider(folder: Path) -> None:
    write(folder, *llama(np.random.default_rng(8), **SMALL | {"hidden_size": 96, "num_attention_heads": 6, "intermediate_size": 200}))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut short": cut, "other names": renamed, "a format nobody reads": unknown_format, "an empty file": empty_file, "an LFS pointer": pointer,
    "a missing shard": missing_shard, "an index and no shard": only_an_index, "a link that leads out": link_out, "no weights": gone,
    "an adapter without its base": adapter, "other widths": wider,
}  # fmt: skip
OF_REFERENCES = DAMAGE | {"a folder of models": below, "one model below": one_below, "several files side by side": side_by_side}


def first(a: Audit) -> str:
    return render_audit(a).split("\n\n")[0].replace("\n", " ")


def closed(a: Audit) -> None:
    """No finding, exit 3, said first, and said in every output."""
    assert (a.exit_code(), a.exit_code(allow_uncompared=True), a.exit_code("never")) == (3, 0, 3)
    assert a.sentence.startswith("Weights were NOT compared: ") and first(a).startswith("Weights were NOT compared: ")
    assert a.missing()
    assert next(x for x in a.answers if x.question == "weights").sentence.count("NOT compared") == 1
    value = json.loads(dumps(a))
    jsonschema.Draft202012Validator(load_schema()).validate(value)
    assert [u for u in value["uncompared"] if u["required"]]
    assert json.loads(statement_text(a))["predicate"]["uncompared"] == value["uncompared"]
    page = render_audit_html(a)
    assert 'id="uncompared"' in page and "nothing to act on" not in page
    run = json.loads(sarif_text(a))["runs"][0]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert "NOT compared" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert [r for r in run["results"] if r["ruleId"] == "uncompared.weights" and (r["kind"], r["level"]) == ("fail", "warning")]
    component = json.loads(cyclonedx_text(a))["metadata"]["component"]
    assert any(p["name"] == "begat:uncompared-weights" for p in component["properties"])
    assert "NOT compared" in component["pedigree"]["notes"]


@pytest.mark.parametrize("how", sorted(DAMAGE))
def test_a_release_whose_weights_cannot_be_compared(base: Path, release: Path, how: str) -> None:
    DAMAGE[how](release)
    closed(audit(release, [base]))


@pytest.mark.parametrize("how", sorted(OF_REFERENCES))
def test_a_reference_whose_weights_cannot_be_compared(base: Path, release: Path, how: str) -> None:
    OF_REFERENCES[how](base)
    a = audit(release, [base])
    closed(a)
    assert "base" in first(a)  # which reference


@pytest.mark.parametrize("holds", ["nothing", "a card", "a config", "a tokenizer", "code"])
def test_a_reference_without_weights(release: Path, tmp_path: Path, holds: str) -> None:
    empty = tmp_path / "upstream"
    empty.mkdir()
    name, text = {
        "nothing": ("", ""), "a card": ("README.md", "# Up\n"), "a config": ("config.json", json.dumps(CONFIG)),
        "a tokenizer": ("tokenizer.json", '{"model": {"type": "WordLevel", "vocab": {"a": 0}}}'), "code": ("modeling.py", "def f(x):\n    return x\n"),
    }[holds]  # fmt: skip
    if name:
        (empty / name).write_text(text)
    closed(audit(release, [empty]))


def test_no_reference(release: Path) -> None:
    a = audit(release)
    closed(a)
    assert first(a).startswith("Weights were NOT compared: no reference was given.")


@pytest.mark.parametrize("ending", [".zip", ".whl", ".tar.gz"])
def test_weights_in_an_archive(base: Path, release: Path, tmp_path: Path, ending: str) -> None:
    where = tmp_path / f"up-1.0{ending}"
    if ending == ".tar.gz":
        shutil.make_archive(str(tmp_path / "up-1.0"), "gztar", base)
    else:
        with zipfile.ZipFile(where, "w") as z:
            z.write(base / "model.safetensors", "up/model.safetensors")
    a = audit(release, [where])
    closed(a)
    assert "archive" in first(a)


def test_one_reference_compared_and_another_not(base: Path, release: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "good", *llama(np.random.default_rng(77), **SMALL))
    cut(base)
    for references in ([base, good], [good, base]):
        a = audit(release, references)
        closed(a)
        assert "against base" in first(a) and "against good" not in first(a)
        assert "not found to be shared with good" in next(x for x in a.answers if x.question == "weights").sentence
        assert "No reuse was established in what was compared." in a.sentence


def test_a_finding_comes_before_what_was_not_compared(base: Path, release: Path, tmp_path: Path) -> None:
    write(release, noisy(BASE, RNG, 0.02), CONFIG)
    empty = tmp_path / "empty"
    empty.mkdir()
    a = audit(release, [base, empty])
    assert a.exit_code() == 1 and a.exit_code("never") == 3 and a.missing()
    assert first(a).startswith("Weights were NOT compared: against empty:")


def test_a_clean_release_is_clean(base: Path, release: Path) -> None:
    a = audit(release, [base])
    assert (a.exit_code(), a.uncompared) == (0, ())
    assert a.sentence == "No reuse was established. Nothing was found for a person to act on."
    run = json.loads(sarif_text(a))["runs"][0]
    assert run["invocations"] == [{"executionSuccessful": True}] and run["results"]
    assert 'id="uncompared"' not in render_audit_html(a)


def test_code_alone_against_code_is_not_forced(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.py").write_text(f"def {name}(x):\n    return x\n")
    a = audit(tmp_path / "mine", [tmp_path / "theirs"])
    assert (a.exit_code(), a.missing()) == (0, ())
    b = audit(tmp_path / "mine", [tmp_path / "theirs"], require=["weights"])
    assert b.exit_code() == 3 and b.sentence.startswith("Weights were NOT compared: the release holds no weights")


def test_a_release_of_code_without_references_is_read_for_its_papers(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def f(x):\n    return x\n")
    a = audit(tmp_path)
    assert a.exit_code() == 0 and a.sentence.startswith("Code was NOT compared: no reference was given.")
    assert audit(tmp_path, require=["code"]).exit_code() == 3


def test_weights_on_the_other_side_alone(base: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "m.py").write_text("def f(x):\n    return x\n")
    a = audit(mine, [base])
    assert a.exit_code() == 3 and a.sentence.startswith("Weights were NOT compared: the release holds no weights")
    assert audit(mine, [base], require=["code"]).sentence.count("NOT compared") == 2  # weights are said all the same


@pytest.mark.parametrize("questions", [["code"], ["tokenizer"], ["code", "tokenizer"], ["weights", "tokenizer"]])
def test_questions_that_were_asked_for(base: Path, release: Path, questions: list[str]) -> None:
    a = audit(release, [base], require=questions)
    assert a.exit_code() == 3 and a.required == tuple(questions)
    assert {u.question for u in a.missing()} == set(questions) - {"weights"}
    for q in set(questions) - {"weights"}:
        assert f"{q.capitalize()} was NOT compared: the release holds no" in a.sentence


def test_switched_off_is_said_and_is_the_users_own_choice(base: Path, release: Path) -> None:
    a = audit(release, [base], weights=False)
    assert a.exit_code() == 0 and a.sentence.startswith("Weights were NOT compared: against base: switched off.")
    with pytest.raises(InputError, match="required and switched off"):
        audit(release, [base], weights=False, require=["weights"])
    with pytest.raises(InputError, match="unknown question"):
        audit(release, [base], require=["luck"])


def test_weights_of_the_release_in_a_folder_below(base: Path, release: Path) -> None:
    write(release / "weights", noisy(BASE, RNG, 0.02), CONFIG)
    (release / "model.safetensors").unlink()
    a = audit(release, [base])
    assert [(w.part, w.relation) for w in a.weights] == [("weights", "open")]
    assert a.exit_code() == 1


def test_a_second_checkpoint_is_compared_too(base: Path, release: Path) -> None:
    """Clean weights in front, another's behind: in a folder below, or beside them in another file."""
    write(release / "extra", noisy(BASE, RNG, 0.02), CONFIG)
    save_file(noisy(BASE, RNG, 0.02), release / "draft.safetensors")
    a = audit(release, [base])
    assert {w.part: w.relation for w in a.weights} == {"": "none", "draft.safetensors": "open", "extra": "open"}
    assert a.exit_code() == 1


def test_a_copy_of_the_same_weights_is_compared_once(base: Path, release: Path) -> None:
    shutil.copy(release / "model.safetensors", release / "again.safetensors")
    a = audit(release, [base])
    assert [w.part for w in a.weights] == [""] and a.exit_code() == 0
    assert any("again.safetensors holds the same weights" in c for c in a.caveats)


def test_parts_of_one_name_are_held_against_each_other(base: Path, release: Path) -> None:
    """As in a pipeline of several models: unet against unet."""
    for folder, tensors in ((base, BASE), (release, OTHER)):
        (folder / "model.safetensors").unlink()
        write(folder / "unet", tensors, CONFIG)
        write(folder / "text_encoder", noisy(BASE, RNG, 0.02), CONFIG)
    a = audit(release, [base])
    assert {w.part: w.relation for w in a.weights} == {"unet": "none", "text_encoder": "open"}
    assert (a.exit_code(), a.missing()) == (1, ())


def test_weights_in_a_format_nobody_reads_beside_good_ones(base: Path, release: Path) -> None:
    (release / "model.tflite").write_bytes(b"TFL3" * 100)
    a = audit(release, [base])
    closed(a)
    assert "model.tflite" in first(a)


def test_files_that_are_no_weights_are_none(base: Path, release: Path) -> None:
    (release / "training_args.bin").write_bytes(b"\x80\x04")
    (release / "optimizer.pt").write_bytes(b"\x80\x04")
    (release / "tokens.bin").write_bytes(b"\0" * 64)
    assert audit(release, [base]).exit_code() == 0


def test_equal_weights_that_are_disclosed_and_licensed(base: Path, release: Path) -> None:
    shutil.copy(base / "model.safetensors", release / "model.safetensors")
    (release / "README.md").write_text("---\nlicense: mit\nbase_model: me/base\n---\n# M\n")
    mit = Path(audit.__code__.co_filename).parent / "licences" / "texts" / "mit.txt"
    for folder in (base, release):
        shutil.copy(mit, folder / "LICENSE")
    a = audit(release, [f"me/base={base}"])
    assert [(w.verdict, w.relation) for w in a.weights] == [("identical", "same")]
    assert (a.exit_code(), a.to_decide()) == (0, ())
    assert next(x for x in a.answers if x.question == "disclosure").status == "said"


def test_a_fault_of_begats_own_is_not_taken_for_an_answer(base: Path, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise IndexError("a fault")

    monkeypatch.setattr("begat.audit.weights.compare", broken)
    with pytest.raises(IndexError):
        audit(release, [base])


def test_an_index_answers_where_no_reference_is_named(base: Path, release: Path, tmp_path: Path) -> None:
    manage.add(str(tmp_path / "index"), [base])
    a = audit(release, index=tmp_path / "index")
    assert (a.exit_code(), a.uncompared) == (0, ())
    assert "by fingerprint, among 1 known models" in a.answers[0].sentence
    cut(release)
    b = audit(release, index=tmp_path / "index")
    assert b.exit_code() == 3 and b.sentence.startswith("Weights were NOT compared: ")


def test_a_cached_snapshot_says_who_it_is(base: Path, release: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--Org--Base-1B" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(base, snapshot)
    a = audit(release, [snapshot])
    assert [(p.id, p.version, p.named) for p in a.references] == [("Org/Base-1B", "abc", True)]
    assert not audit(release, [base]).references[0].named


def test_every_verdict_has_a_relation() -> None:
    for verdict, code in POLICY.exit_codes.items():
        assert (relation_of(verdict) in ("same", "trained", "open", "initial")) == (code == 1)
        assert (relation_of(verdict) == "untested") == (code == 3)
    assert relation_of("partly-derived") == relation_of("derived-or-shared-initialisation") == "open"


def test_what_a_folder_holds(base: Path) -> None:
    (base / "model.keras").write_bytes(b"k")
    write(base / "sub", OTHER, CONFIG)
    found = held(open_tree(base))
    assert [p.name for p in found.parts] == ["", "sub"]
    assert [(u.name, u.reason) for u in found.unopened] == [("model.keras", "format")]
    assert found.below == ("sub",)


def test_a_required_comparison_allowed_to_be_missing_changes_no_finding(base: Path, release: Path) -> None:
    a = audit(release, [base])
    missing = audit(release)
    both = dataclasses.replace(a, uncompared=missing.uncompared)
    assert (a.exit_code(), both.exit_code(), both.exit_code(allow_uncompared=True)) == (0, 3, 0)


def test_what_was_compared_in_part_is_said(base: Path, release: Path) -> None:
    """Some parameters have names that nobody knows: no all-clear speaks of them."""
    tensors = load_file(release / "model.safetensors")
    tensors |= {f"extra.{i}.table": np.random.default_rng(i).standard_normal((128, 64)).astype(np.float32) for i in range(3)}
    save_file(tensors, release / "model.safetensors")
    a = audit(release, [base])
    (w,) = a.weights
    assert (w.relation, a.exit_code()) == ("none", 0) and 0.05 < w.unread < 0.5
    assert "of the release's parameters" in a.sentence.casefold() and "were not compared with base" in a.sentence
    assert "were not compared with base" in a.answers[0].sentence


def test_a_constant_that_both_compute_is_no_reuse_and_is_said(base: Path, release: Path) -> None:
    for folder in (base, release):
        tensors = load_file(folder / "model.safetensors") | {"model.freqs": np.sin(np.arange(256, dtype=np.float32))}
        save_file(tensors, folder / "model.safetensors")
    a = audit(release, [base])
    assert (a.weights[0].relation, a.exit_code()) == ("none", 0)
    if a.weights[0].equal:  # where `compare` speaks of them, so does the audit
        assert "copied, or computed alike" in a.sentence
