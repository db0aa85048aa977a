"""Three public disputes re-enacted: the audit says the right thing about each, and says it in words that draw no conclusion."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from begat.audit.types import Audit, Finding
from begat.report.audit_html import render_audit_html
from begat.report.audit_text import render_audit

Enacted = dict[str, tuple[Path, Audit]]
UPSTREAM = "example/Ruda-14B"
#: words of a judgement; `begat.audit` measures and does not use them of a release
JUDGING = re.compile(
    r"\b(?:stole\w*|theft|steal\w*|plagiari\w+|guilty|illegal\w*|unlawful\w*|infring\w+|violat\w+|breach(?!\s+by|\.)\w*|fraud\w*|copied from|pirat\w+|liab\w+)\b",  # noqa: E501
    re.IGNORECASE,
)


def answer(a: Audit, question: str) -> tuple[str, str]:
    found = next(x for x in a.answers if x.question == question)
    return found.level, found.status


def finding(a: Audit, start: str) -> Finding:
    return next(f for f in a.findings if f.id.startswith(start))


def test_a_kept_notice_is_compliance_and_says_nothing_about_weights(enacted: Enacted) -> None:
    _, a = enacted["kept-notice"]
    assert answer(a, "weights") == ("not-found", "not found")
    assert answer(a, "tokenizer") == ("not-found", "not found")
    assert answer(a, "code")[1] == "shared"
    assert answer(a, "notices") == ("not-found", "kept")
    assert answer(a, "disclosure")[1] == "said"
    kept = finding(a, "notice.kept")
    assert (kept.bearing, kept.severity) == ("for", "none")
    assert kept.clause is not None
    assert kept.clause.text.startswith("You must retain, in the Source form")
    assert a.to_decide() == ()
    assert a.exit_code() == 0


def test_code_that_two_references_hold_alike_names_neither(enacted: Enacted) -> None:
    _, a = enacted["kept-notice"]
    assert [x.indicated for x in a.ancestors] == [("code",), ("code",)]
    assert all(x.established == () for x in a.ancestors)
    assert "which of them is the source cannot be said" in finding(a, "reuse.code-tie").sentence


def test_a_common_architecture_with_renamed_tensors_is_nothing(enacted: Enacted) -> None:
    _, a = enacted["renamed-tensors, own weights"]
    assert answer(a, "weights") == ("not-found", "not found")
    assert a.to_decide() == ()
    assert a.exit_code() == 0
    assert all(x.established == x.indicated == () for x in a.ancestors)


def test_renaming_tensors_hides_no_weights(enacted: Enacted) -> None:
    _, a = enacted["renamed-tensors, others' weights"]
    assert answer(a, "weights") == ("established", "shared")
    assert answer(a, "code")[1] == answer(a, "tokenizer")[1] == "cannot be said"
    assert a.exit_code("established") == 1


def test_everything_renamed_is_seen_part_by_part(enacted: Enacted) -> None:
    _, a = enacted["renamed-everything"]
    assert answer(a, "weights") == ("established", "shared")
    assert answer(a, "code")[1] == "shared"
    assert answer(a, "tokenizer") == ("established", "shared")
    assert answer(a, "notices") == ("established", "not all kept")
    assert answer(a, "disclosure") == ("established", "not said")
    assert finding(a, "notice.replaced").severity == "high"
    conflict = finding(a, "licence.conflict")
    assert conflict.level == "indicated"
    assert "A person has to decide" in conflict.sentence
    (t,) = a.tokenizers
    assert (t.added, t.pruned, dict(t.parts)["special tokens"]) == (0, 0, "only in the release")


def test_duties_follow_from_the_part_that_was_measured(enacted: Enacted) -> None:
    _, a = enacted["renamed-everything"]
    model = [f.id for f in a.to_decide() if ":llama-3.1:" in f.id]
    assert {i.split(":")[0] for i in model} == {
        "licence.copy",
        "licence.display",
        "licence.name",
        "licence.notice",
        "licence.conflict",
    }
    code = [f for f in a.findings if f.id.startswith("licence.") and ":apache-2.0:" in f.id]
    assert {f.id.split(":")[0] for f in code} == {"licence.copy"}  # seen to be done; the header's licence, not the model's
    _, kept = enacted["kept-notice"]
    assert not [f for f in kept.findings if ":llama-3.1:" in f.id]


@pytest.mark.parametrize(
    "case", ["kept-notice", "renamed-tensors, own weights", "renamed-tensors, others' weights", "renamed-everything"]
)
def test_no_sentence_judges(enacted: Enacted, case: str) -> None:
    _, a = enacted[case]
    own = [a.sentence, *a.caveats, a.coverage, *a.not_asked, *(x.sentence for x in a.answers)]
    own += [f.sentence for f in a.findings] + [f.remedy for f in a.findings]
    for sentence in own:
        assert not JUDGING.search(sentence), sentence
    assert any("none is a legal conclusion" in c for c in a.caveats)


@pytest.mark.parametrize("case", ["kept-notice", "renamed-everything"])
def test_text_and_page_say_every_finding(enacted: Enacted, case: str) -> None:
    _, a = enacted[case]
    text = " ".join(render_audit(a, width=100).split())
    page = render_audit_html(a)
    for f in a.findings:
        assert " ".join(f.sentence.split())[:60] in text
    assert page.count('class="one') == len(a.findings)


def test_what_came_first_is_left_open(enacted: Enacted) -> None:
    _, a = enacted["renamed-everything"]
    assert any("does not by itself show which came first" in c for c in a.caveats)
    assert "One was made from the other, or both from a common trained ancestor" in finding(a, "reuse.weights").sentence
