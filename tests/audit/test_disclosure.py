"""An established dependence against what the release says: contradictions first, in words that leave open what the weights leave open; chains are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from begat.audit.run import audit
from begat.audit.types import Audit, Finding
from begat.report.audit_text import render_audit
from builders import llama, noisy, rounded, write

SMALL = {"num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 128}
RNG = np.random.default_rng(6)
BASE, CONFIG = llama(RNG, **SMALL)
OTHER, _ = llama(RNG, **SMALL)
CHILD = noisy(BASE, RNG, 0.02)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base", BASE, CONFIG)


def release(folder: Path, body: str, front: str = "", tensors: dict[str, np.ndarray] | None = None) -> Path:
    write(folder, CHILD if tensors is None else tensors, CONFIG)
    (folder / "README.md").write_text(f"---\nlicense: mit\n{front}---\n{body}\n")
    return folder


def disclosure(a: Audit) -> Finding:
    return next(f for f in a.findings if f.about == "disclosure")


def values(a: Audit) -> list[str]:
    return [f.value for f in a.findings if f.about == "disclosure"]


def test_a_dependence_whose_kind_is_open_is_established_and_undisclosed(base: Path, tmp_path: Path) -> None:
    a = audit(release(tmp_path / "r", "# Nova"), [f"up/Stream-1={base}"])
    (w,) = a.weights
    assert (w.verdict, w.relation, w.exact) == ("derived-or-shared-initialisation", "open", True)
    assert a.ancestors[0].established == ("weights",) and a.ancestors[0].relation == "open"
    assert (a.answers[0].level, a.answers[0].status) == ("established", "dependent")
    assert [f.value for f in a.to_decide()] == ["not-said"] and a.exit_code("established") == 1
    assert "not made independently is established; of which kind the dependence is, is open" in a.sentence
    assert "shares weights" not in a.sentence and "shared with" not in a.answers[0].sentence


@pytest.mark.parametrize(
    "body", ["# Nova\nTrained from scratch by our team.", "# Nova\nPre-trained on 2T tokens from random initialization.", "# Nova\n本模型从零开始训练。"]
)
def test_from_scratch_against_a_dependence_comes_first(base: Path, tmp_path: Path, body: str) -> None:
    a = audit(release(tmp_path / "r", body), [f"up/Stream-1={base}"])
    top = a.to_decide()[0]
    assert (top.value, top.severity, top.level) == ("scratch-contradicted", "high", "established")
    assert a.declared.scratch in top.sentence and "up/Stream-1" in top.sentence
    assert "the weights alone do not show which" in top.sentence and "the same initial weights" in top.sentence
    assert a.sentence.startswith(top.sentence) and a.exit_code() == 1
    assert render_audit(a).startswith("The card says “")
    assert next(x for x in a.answers if x.question == "disclosure").status == "contradicted"


@pytest.mark.parametrize(
    "body",
    ["# Nova\nThis was not trained from scratch.",
     "# Nova\nUnlike models trained from scratch, ours is tuned.", "# Nova\nThe tokenizer was trained from scratch."],
)  # fmt: skip
def test_a_denial_is_no_claim(base: Path, tmp_path: Path, body: str) -> None:
    assert "scratch-contradicted" not in values(audit(release(tmp_path / "r", body), [f"up/Stream-1={base}"]))


def test_from_scratch_of_a_stranger_is_nothing(base: Path, tmp_path: Path) -> None:
    a = audit(release(tmp_path / "r", "# Nova\nTrained from scratch.", tensors=OTHER), [f"up/Stream-1={base}"])
    assert (a.exit_code(), values(a)) == (0, [])


def test_from_scratch_of_the_source_itself_is_nothing(tmp_path: Path) -> None:
    """The reference is a rounding of the release: it was made from the release, and the card is right."""
    four = write(tmp_path / "four", rounded(BASE, 4, 16), CONFIG)
    a = audit(release(tmp_path / "r", "# Nova\nTrained from scratch.", tensors=BASE), [f"up/Four-1={four}"])
    assert a.weights[0].arrow == "to-reference"
    assert "the source of those of up/Four-1" in a.answers[0].sentence and "not found to be" not in a.answers[0].sentence
    assert (a.exit_code(), values(a)) == (0, [])


def test_a_source_that_cannot_be_told_from_its_copy_is_told_so(base: Path, tmp_path: Path) -> None:
    a = audit(release(tmp_path / "r", "# Nova\nTrained from scratch.", tensors=BASE), [f"up/Stream-1={base}"])
    assert a.weights[0].relation == "same"
    assert "or it on the release's" in a.to_decide()[0].sentence and "the same initial weights" not in a.to_decide()[0].sentence


def test_another_base_that_was_measured_and_not_found(base: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", OTHER, CONFIG)
    a = audit(release(tmp_path / "r", "# Nova", "base_model: me/Other-2\n"), [f"up/Stream-1={base}", f"me/Other-2={other}"])
    top = a.to_decide()[0]
    assert (top.value, top.severity) == ("base-contradicted", "high")
    assert "names me/Other-2 as base and not up/Stream-1" in top.sentence and "no dependence on the weights of me/Other-2 was found" in top.sentence
    assert a.sentence.startswith(top.sentence)


def test_another_base_that_was_not_measured_is_left_open_aloud(base: Path, tmp_path: Path) -> None:
    a = audit(release(tmp_path / "r", "# Nova", "base_model: me/Other-2\n"), [f"up/Stream-1={base}"])
    top = a.to_decide()[0]
    assert top.value == "base-open" and "unless me/Other-2 was itself made from it" in top.sentence
    assert a.exit_code() == 1
    b = audit(release(tmp_path / "r", "# Nova", "base_model: me/Other-2\n"), [base])
    assert "unless the reference given as base is me/Other-2" in b.to_decide()[0].sentence  # a folder's name is nobody's id


def test_a_chain_through_the_declared_base_is_no_contradiction(base: Path, tmp_path: Path) -> None:
    middle = write(tmp_path / "middle", noisy(BASE, RNG, 0.02), CONFIG)
    r = release(tmp_path / "r", "# Nova", "base_model: me/Middle-2\n")
    a = audit(r, [f"up/Stream-1={base}", f"me/Middle-2={middle}"])
    assert sorted(values(a)) == ["said", "through-declared-base"]
    assert [f for f in a.to_decide() if f.axis == "disclosure"] == []


def test_two_sources_of_which_one_is_declared(base: Path, tmp_path: Path) -> None:
    """A merge of two independent models, one of them named: the other cannot have come through it."""
    other = write(tmp_path / "other", OTHER, CONFIG)
    merged = {n: (0.5 * w + 0.5 * OTHER[n]).astype(np.float32) for n, w in BASE.items()}
    r = release(tmp_path / "r", "# Nova", "base_model: me/Other-2\n", merged)
    a = audit(r, [f"up/Stream-1={base}", f"me/Other-2={other}"])
    assert all(w.exact and w.relation in ("open", "trained") for w in a.weights)
    assert "base-contradicted" in values(a) and "through-declared-base" not in values(a)
    assert "me/Other-2 and up/Stream-1 were found independent of each other" in a.to_decide()[0].sentence


@pytest.mark.parametrize(
    ("body", "front", "value"),
    [
        ("# Nova", "base_model: up/Stream-1\n", "said"), ("# Nova\nFine-tuned from Stream-1.", "", "said"), ("# Nova\nFine-tuned from Stream 1.", "", "said"),
        ("# Nova\nTrained from scratch on top of Stream-1.", "base_model: up/Stream-1\n", "said"), ("# Nova\nThanks to the Stream-1 team.", "", "said"),
        ("# Nova\n| model | score |\n|---|---|\n| Stream-1 | 70 |", "", "not-said"), ("# Nova\nIt is better than Stream-1.", "", "not-said"),
        ("# Nova\nIt was not made from Stream-1.", "", "not-said"), ("# Nova", "base_model: up/Stream-1-Instruct\n", "said"),
    ],
)  # fmt: skip
def test_what_counts_as_said(base: Path, tmp_path: Path, body: str, front: str, value: str) -> None:
    a = audit(release(tmp_path / "r", body, front), [f"up/Stream-1={base}"])
    assert value in values(a) and not any(f.id.startswith("disclosure.contradiction") for f in a.findings)
    assert a.exit_code() == (1 if value == "not-said" else 0)


def test_a_table_that_names_the_source_does_not_heal_a_claim(base: Path, tmp_path: Path) -> None:
    body = "# Nova\nTrained from scratch.\n\nThanks to the Stream-1 team.\n\n| Stream-1 | 70 |"
    assert values(audit(release(tmp_path / "r", body), [f"up/Stream-1={base}"]))[0] == "scratch-contradicted"


def test_a_notice_says_it(base: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", "# Nova")
    (r / "NOTICE").write_text("This product includes Stream-1.\n")
    assert values(audit(r, [f"up/Stream-1={base}"])) == ["said"]


def test_where_a_base_is_declared_is_said_truly(base: Path, tmp_path: Path) -> None:
    r = release(tmp_path / "r", "# Nova")
    (r / "config.json").write_text((r / "config.json").read_text().replace('"model_type"', '"_name_or_path": "up/Stream-1", "model_type"'))
    a = audit(r, [f"up/Stream-1={base}"])
    assert disclosure(a).subject.file == "config.json" and "disclosed in config.json" in disclosure(a).sentence


def test_duties_of_an_open_kind_are_indicated_and_say_so(base: Path, tmp_path: Path) -> None:
    texts = Path(audit.__code__.co_filename).parent / "licences" / "texts"
    (base / "LICENSE").write_text((texts / "llama-3.1.txt").read_text())
    a = audit(release(tmp_path / "r", "# Nova"), [f"up/Stream-1={base}"])
    duties = [f for f in a.to_decide() if f.about == "duty"]
    assert duties and all(f.level == "indicated" for f in duties)
    assert all("open whether trained weights were taken over" in f.sentence for f in duties)
    declared = audit(release(tmp_path / "r", "# Nova", "base_model: up/Stream-1\n"), [f"up/Stream-1={base}"])
    assert {f.level for f in declared.to_decide() if f.about == "duty"} == {"established"}


def test_a_dependence_in_parts_is_said_of_the_parts(base: Path, tmp_path: Path) -> None:
    """An embedding table alone is another's: no sentence speaks of the weights as a whole."""
    mixed = {n: BASE[n] if "embed" in n else w for n, w in OTHER.items()}
    a = audit(release(tmp_path / "r", "# Nova\nTrained from scratch.", tensors=mixed), [f"up/Stream-1={base}"])
    (w,) = a.weights
    assert (w.verdict, w.relation, w.parts) == ("partly-derived", "open", ("embedding",))
    assert a.ancestors[0].parts == ("embedding",)
    for f in a.to_decide():
        assert "parts of the weights (the embedding)" in f.sentence
    assert "parts of its weights (the embedding)" in a.sentence
    assert "up/Stream-1 in the embedding alone" in a.answers[0].sentence
