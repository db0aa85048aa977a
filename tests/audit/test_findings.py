"""What the licences of ancestors ask, checked on releases that do it and releases that do not; declared bases; disclosure; direction."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks" / "audit")]

from precedents import TEXTS, train_bpe, weights  # noqa: E402

from begat.audit.findings import Facts, conclude  # noqa: E402
from begat.audit.licences.table import TABLE  # noqa: E402
from begat.audit.run import audit  # noqa: E402
from begat.audit.types import Audit, Finding, WeightsResult  # noqa: E402
from begat.audit.weights import level_of  # noqa: E402

SENTENCES = {
    "llama-3.1": "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright © Meta Platforms, Inc. All Rights Reserved.",
    "qwen": "Qwen is licensed under the Qwen LICENSE AGREEMENT, Copyright (c) Alibaba Cloud. All Rights Reserved.",
    "gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.",
}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("up")
    weights("parent", where)
    return where


def reference(upstream: Path, where: Path, licence: str) -> str:
    """The upstream weights under a licence, as a reference."""
    shutil.copytree(upstream, where)
    shutil.copyfile(TEXTS / f"{licence}.txt", where / "LICENSE")
    return f"up/Stream={where}"


def release(where: Path, files: dict[str, str], member: str = "fine-tune") -> Path:
    weights(member, where)
    for name, text in files.items():
        (where / name).write_text(text)
    return where


def by_duty(a: Audit, licence: str) -> dict[str, str]:
    """duty → bearing, for the duties of one licence."""
    return {f.id.split(":")[0].removeprefix("licence."): f.bearing for f in a.findings if f":{licence}:up/Stream" in f.id}


def card(licence: str, body: str = "# Model\n", more: str = "") -> str:
    return f"---\nlicense: {licence}\n{more}---\n{body}"


def test_a_llama_derivative_that_does_everything(upstream: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", {
        "LICENSE": (TEXTS / "llama-3.1.txt").read_text(), "NOTICE.txt": SENTENCES["llama-3.1"],
        "README.md": card("llama3.1", "# Llama-Tuned\nBuilt with\nLlama. Made from up/Stream.\n"),
    })  # fmt: skip
    a = audit(f"me/Llama-Tuned={r}", [reference(upstream, tmp_path / "up", "llama-3.1")])
    assert by_duty(a, "llama-3.1") == {
        "copy": "for",
        "display": "for",
        "name": "for",
        "notice": "for",
        "use-policy": "fact",
        "users": "fact",
        "conflict": "for",
    }
    assert a.to_decide() == ()


def test_a_llama_derivative_that_does_nothing(upstream: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"README.md": card("apache-2.0")})
    a = audit(f"me/Tuned={r}", [reference(upstream, tmp_path / "up", "llama-3.1")])
    assert by_duty(a, "llama-3.1") == {
        "copy": "against", "display": "against", "name": "against", "notice": "against", "use-policy": "fact", "users": "fact", "conflict": "against",
    }  # fmt: skip


def test_a_name_that_was_not_given_is_not_judged(upstream: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"README.md": card("llama3.1")})
    ref = reference(upstream, tmp_path / "up", "llama-3.1")
    assert by_duty(audit(r, [ref]), "llama-3.1")["name"] == "fact"
    assert by_duty(audit(f"me/Tuned={r}", [ref]), "llama-3.1")["name"] == "against"
    (r / "README.md").write_text(card("llama3.1", more="model_name: Llama-Tuned\n"))
    assert by_duty(audit(r, [ref]), "llama-3.1")["name"] == "for"


def test_an_older_edition_of_the_declared_licence_is_no_contradiction(tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"LICENSE": (TEXTS / "gemma-2024.txt").read_text(), "README.md": card("gemma")})
    assert audit(r).to_decide() == ()


def test_the_licence_text_itself_displays_nothing(upstream: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"LICENSE": (TEXTS / "llama-3.1.txt").read_text(), "README.md": card("llama3.1")})
    a = audit(f"me/Llama-Tuned={r}", [reference(upstream, tmp_path / "up", "llama-3.1")])
    assert by_duty(a, "llama-3.1") == {
        "copy": "for", "display": "against", "name": "for", "notice": "against", "use-policy": "fact", "users": "fact", "conflict": "for",
    }  # fmt: skip


def test_the_sentence_must_stand_in_a_notice_file(upstream: Path, tmp_path: Path) -> None:
    r = release(
        tmp_path / "r",
        {"README.md": card("other", f"# M\n{SENTENCES['qwen']}\nBuilt with Qwen\n"), "LICENSE": (TEXTS / "qwen.txt").read_text()},
    )
    a = audit(f"me/M={r}", [reference(upstream, tmp_path / "up", "qwen")])
    notice = next(f for f in a.findings if f.id.startswith("licence.notice:qwen"))
    assert notice.bearing == "against"
    assert "stands in README.md, not in a Notice file" in notice.sentence
    assert by_duty(a, "qwen") == {"copy": "for", "notice": "against", "display": "for", "users": "fact", "conflict": "for"}


@pytest.mark.parametrize(
    ("inbound", "outbound", "bearing"),
    [
        ("cc-by-nc-4.0", "apache-2.0", "against"), ("cc-by-nc-4.0", "cc-by-nc-4.0", "for"), ("deepseek-1.0", "mit", "against"), ("gemma", "apache-2.0", "against"),  # noqa: E501
        ("bigscience-openrail-m", "bigscience-openrail-m", "for"), ("llama-3.1", "llama-3.3", "for"), ("qwen", "llama-3.1", "for"), ("llama-3.1", "qwen", "against"),  # noqa: E501
        ("apache-2.0", "cc-by-nc-4.0", ""), ("mit", "apache-2.0", ""), ("openmdw-1.0", "llama-2", ""),
    ],
)  # fmt: skip
def test_limits_dropped_by_the_outbound_licence(
    upstream: Path, tmp_path: Path, inbound: str, outbound: str, bearing: str
) -> None:
    r = release(
        tmp_path / "r",
        {
            "LICENSE": (TEXTS / f"{outbound}.txt").read_text(),
            "README.md": card(TABLE.licences[outbound].card[0] if TABLE.licences[outbound].card else "other"),
        },
    )
    a = audit(f"me/M={r}", [reference(upstream, tmp_path / "up", inbound)])
    assert by_duty(a, inbound).get("conflict", "") == bearing
    if bearing == "against":
        conflict = next(f for f in a.findings if f.id.startswith("licence.conflict"))
        assert conflict.level == "indicated"
        assert conflict.clause is not None


def test_use_restrictions_may_be_carried_in_ones_own_words(upstream: Path, tmp_path: Path) -> None:
    own = "Our own licence.\n\nAttachment A: Use-based restrictions of the DeepSeek licence apply.\n"
    r = release(tmp_path / "r", {"LICENSE": own, "README.md": card("other")})
    a = audit(f"me/M={r}", [reference(upstream, tmp_path / "up", "deepseek-1.0")])
    assert by_duty(a, "deepseek-1.0") == {"restrictions": "for", "copy": "against", "conflict": "fact"}


def test_an_upstream_notice_is_asked_for_only_where_there_is_one(upstream: Path, tmp_path: Path) -> None:
    ref = reference(upstream, tmp_path / "up", "apache-2.0")
    files = {"README.md": card("apache-2.0"), "LICENSE": (TEXTS / "apache-2.0.txt").read_text()}
    a = audit(f"me/M={release(tmp_path / 'r1', files)}", [ref])
    assert "upstream-notice" not in by_duty(a, "apache-2.0")
    (tmp_path / "up" / "NOTICE").write_text("Upstream Stream\nCopyright 2024 Up Stream Ltd.\n")
    a = audit(f"me/M={tmp_path / 'r1'}", [ref])
    assert by_duty(a, "apache-2.0")["upstream-notice"] == "against"
    (tmp_path / "r1" / "NOTICE").write_text("My notice\n\nUpstream   Stream\nCopyright 2024 Up Stream Ltd.\n")
    a = audit(f"me/M={tmp_path / 'r1'}", [ref])
    assert by_duty(a, "apache-2.0")["upstream-notice"] == "for"


def test_a_declared_base_is_compared_by_licence_alone(tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"README.md": card("apache-2.0", more="base_model: meta-llama/Llama-3.3-70B-Instruct\n")})
    a = audit(f"watt/tool={r}")
    (f,) = a.to_decide()
    assert f.id == "licence.conflict:llama-3.3:meta-llama/Llama-3.3-70B-Instruct"
    assert (f.level, f.severity) == ("indicated", "high")
    assert "which the card declares as base and nothing here measured" in f.sentence
    assert a.exit_code() == 1 and a.exit_code("established") == 3
    assert a.exit_code("established", allow_uncompared=True) == 0


def test_a_declared_base_that_is_measured_is_counted_once_and_disclosed(upstream: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"README.md": card("apache-2.0", more="base_model: up/Stream\n")})
    a = audit(f"me/M={r}", [reference(upstream, tmp_path / "up", "llama-3.1")])
    assert len([f for f in a.findings if f.id.startswith("licence.conflict")]) == 1
    assert next(x for x in a.answers if x.question == "disclosure").status == "said"
    assert a.ancestors[0].declared


def test_a_mention_is_a_word_and_not_a_part_of_one(upstream: Path, tmp_path: Path) -> None:
    ref = reference(upstream, tmp_path / "up", "mit")
    r = release(tmp_path / "r", {"README.md": card("mit", "# M\nIt can upStream and Streamline.\n"), "LICENSE": (TEXTS / "mit.txt").read_text()})
    assert [f.id for f in audit(f"me/M={r}", [ref]).to_decide()] == ["disclosure.weights:up/Stream"]
    (r / "README.md").write_text(card("mit", "# M\nFine-tuned from Stream.\n"))
    assert audit(f"me/M={r}", [ref]).to_decide() == ()


def test_a_declared_base_whose_weights_are_not_there_is_said(upstream: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"README.md": card("llama3.1", more="base_model: up/Stream\n")}, member="stranger")
    a = audit(f"me/M={r}", [reference(upstream, tmp_path / "up", "llama-3.1")])
    f = next(f for f in a.findings if f.id == "disclosure.declared:up/Stream")
    assert (f.level, f.bearing) == ("not-found", "fact")
    assert a.to_decide() == ()


def test_an_edited_licence_and_a_card_that_says_otherwise(tmp_path: Path) -> None:
    r = release(
        tmp_path / "r",
        {"LICENSE": (TEXTS / "qwen.txt").read_text().replace("100 million", "10 million"), "README.md": card("apache-2.0")},
    )
    a = audit(f"me/M={r}")
    assert {f.id for f in a.to_decide()} == {"licence.edited:LICENSE:qwen", "licence.card-differs"}
    edited = next(f for f in a.findings if f.id.startswith("licence.edited"))
    assert "“100” became “10”" in edited.sentence
    assert edited.subject.start == 28


def test_no_licence_file_alone_is_nothing_to_act_on(tmp_path: Path) -> None:
    a = audit(release(tmp_path / "r", {"README.md": "# M\n"}))
    f = next(f for f in a.findings if f.id == "licence.no-text")
    assert (f.bearing, f.severity) == ("fact", "low")
    assert a.to_decide() == ()
    assert a.exit_code(allow_uncompared=True) == 0


def test_twins_of_one_initialisation_are_no_reuse_and_owe_nothing(upstream: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", {"README.md": card("mit", "# M\nTrained from scratch.\n")}, member="twin")
    a = audit(f"me/M={r}", [reference(upstream, tmp_path / "up", "cc-by-nc-4.0")])
    answer = next(x for x in a.answers if x.question == "weights")
    assert (answer.level, answer.status) == ("not-found", "not found")
    assert "equal initial weights with up/Stream" in answer.sentence
    assert a.to_decide() == () and a.exit_code() == 0
    assert not [f for f in a.findings if f.about in ("duty", "limits")]
    fits = next(f for f in a.findings if f.value == "scratch-fits")
    assert (fits.bearing, fits.level) == ("fact", "not-found") and "consistent" in fits.sentence


def test_a_reference_made_from_the_release_asks_nothing_of_it() -> None:
    down = WeightsResult("x", "", "", "re-encoded", "x holds the weights.", 9.0, -9.0, "same", "to-reference", True)
    assert level_of(down) == "not-found"
    assert level_of(dataclasses.replace(down, arrow="from-reference")) == "established"
    assert level_of(dataclasses.replace(down, arrow="")) == "established"
    assert level_of(dataclasses.replace(down, relation="open", arrow="")) == "established"
    assert level_of(dataclasses.replace(down, relation="open", arrow="", exact=False)) == "indicated"
    assert level_of(dataclasses.replace(down, relation="initial", arrow="")) == "not-found"
    assert level_of(dataclasses.replace(down, relation="none", arrow="")) == "not-found"
    assert level_of(dataclasses.replace(down, relation="untested", arrow="")) == "not-determinable"


def test_a_rounded_reference_is_not_an_ancestor(upstream: Path, tmp_path: Path) -> None:
    weights("four-bit", tmp_path / "four")
    shutil.copyfile(TEXTS / "cc-by-nc-4.0.txt", tmp_path / "four" / "LICENSE")
    r = tmp_path / "r"
    shutil.copytree(upstream, r)
    (r / "README.md").write_text(card("mit"))
    a = audit(f"me/M={r}", [f"up/Stream={tmp_path / 'four'}"])
    (w,) = a.weights
    assert (w.verdict, w.relation, w.arrow) == ("re-encoded", "same", "to-reference")
    assert a.to_decide() == () and a.ancestors[0].established == ()
    assert "The reference was made from the release" in next(f for f in a.findings if f.id.startswith("reuse.weights")).sentence


def test_a_shared_tokenizer_alone_is_no_conflict_to_act_on(tmp_path: Path) -> None:
    up, r = tmp_path / "up", tmp_path / "r"
    for where in (up, r):
        where.mkdir()
        (where / "tokenizer.json").write_text(json.dumps(train_bpe(1, 500)))
    shutil.copyfile(TEXTS / "cc-by-nc-4.0.txt", up / "LICENSE")
    (r / "README.md").write_text(card("mit"))
    a = audit(f"me/M={r}", [f"up/Stream={up}"])
    assert next(x for x in a.answers if x.question == "tokenizer").status == "shared"
    assert next(x for x in a.answers if x.question == "weights").status == "not compared"
    assert a.missing() == ()  # neither side holds weights, and the tokenizers were compared
    conflict: Finding = next(f for f in a.findings if f.id.startswith("licence.conflict"))
    assert (conflict.bearing, conflict.severity) == ("fact", "low")


def test_findings_have_unique_ids_and_known_words(enacted: dict[str, tuple[Path, Audit]]) -> None:
    from begat.audit.types import ABOUTS, AXES, BEARINGS, LEVELS, SEVERITIES

    for _, a in enacted.values():
        ids = [f.id for f in a.findings]
        assert len(set(ids)) == len(ids)
        for f in a.findings:
            assert f.axis in AXES and f.level in LEVELS and f.bearing in BEARINGS and f.severity in SEVERITIES
            assert f.bearing == "against" or f.severity in ("none", "low")
            assert f.remedy or f.bearing != "against"
            assert f.value in ABOUTS[f.about]
        order = [("against", "fact", "for").index(f.bearing) for f in a.findings]
        assert order == sorted(order)


def test_conclude_is_given_facts_and_measures_nothing(tmp_path: Path, enacted: dict[str, tuple[Path, Audit]]) -> None:
    _, a = enacted["renamed-everything"]
    from begat.audit.folder import open_tree

    trees = {(p.id, p.version): open_tree(Path(p.path)) for p in a.references}
    facts = Facts(
        release=a.release, tree=open_tree(Path(a.release.path)), references=a.references, trees=trees, weights=a.weights, code=a.code,
        code_not_run=a.code_not_run, tokenizers=a.tokenizers, notices=a.notices, texts=a.licence_texts, headers=a.headers, declared=a.declared,
    )  # fmt: skip
    again = conclude(facts)
    assert (again.findings, again.answers, again.ancestors) == (a.findings, a.answers, a.ancestors)


def test_a_licence_under_a_name_of_its_own_is_no_edited_one(upstream: Path, tmp_path: Path) -> None:
    """It is nobody's edited licence, contradicts no card, and what it allows is not known."""
    own = (TEXTS / "apache-2.0.txt").read_text().replace("Apache License", "Heron Model License").replace("Version 2.0, January 2004", "Version 1.0")
    r = release(tmp_path / "r", {"LICENSE": own, "README.md": card("other", more="base_model: up/Stream\n")})
    a = audit(f"me/M={r}", [reference(upstream, tmp_path / "up", "cc-by-nc-4.0")])
    (text,) = a.licence_texts
    assert (text.licence, text.state, text.like) == ("", "other", "apache-2.0")
    assert a.release.licence == "" and "calls itself “Heron Model License" in a.release.licence_source
    assert not [f for f in a.findings if f.about == "licence-text" and f.bearing == "against"]
    conflict = next(f for f in a.findings if f.about == "limits")
    assert (conflict.value, conflict.bearing) == ("undetermined", "fact") and "Heron Model License" in conflict.sentence
