"""Licence texts identified and edits found; the table is strict; every quotation stands in its wording; expressions and model ids."""

from __future__ import annotations

import random
from importlib import resources

import pytest

from begat.audit.licences.expressions import ids_of, normal_expression
from begat.audit.licences.identify import identify
from begat.audit.licences.table import TABLE, parse_table
from begat.audit.licences.words import word_hash, words_of

HERE = resources.files("begat.audit.licences")
TEXTS = {f.name: f.read_text("utf-8") for f in HERE.joinpath("texts").iterdir() if not f.name.endswith(".md")}
PLAIN = sorted(n.removesuffix(".txt") for n in TEXTS if n.endswith(".txt"))
SMALL_TEXT = "You may share this work. You must keep this notice. You must not sell it to anybody at all."
LICENCES = """
[[licence]]
id = "small"
title = "Small Licence"
spdx = "LicenseRef-small"
card = ["small"]
names = []
text = "small.txt"
text_source = "here"
limits = ["non-commercial"]

[[licence.obligation]]
id = "notices"
check = "keep-notices"
parts = ["code"]
phrases = []
clause = "1"
quoted = true
text = "You must keep this notice."
severity = "medium"
remedy = "keep it"
"""
MODELS = """
[[model]]
repositories = ["a/B"]
revision = "any"
licence = "small"
source = "here"
"""


@pytest.mark.parametrize("name", PLAIN)
def test_every_published_text_is_identified_as_itself_and_unedited(name: str) -> None:
    (found,) = identify("LICENSE", TEXTS[f"{name}.txt"])
    assert (found.licence, found.state, found.same, found.edits) == (name, "unedited", 1.0, ())


@pytest.mark.parametrize("name", PLAIN)
def test_line_breaks_case_punctuation_and_the_copyright_line_are_no_edits(name: str) -> None:
    words = TEXTS[f"{name}.txt"].split()
    text = "Copyright (c) 2026 Somebody Else\n\n" + "\n".join(
        " ".join(words[i : i + 7]) for i in range(0, len(words), 7)
    ).upper().replace('"', "“")
    (found,) = identify("LICENSE", text)
    assert (found.licence, found.state) == (name, "unedited"), found.edits[:3]


@pytest.mark.parametrize("name", PLAIN)
def test_one_word_changed_anywhere_is_an_edit_with_its_line(name: str) -> None:
    rng = random.Random(name)
    lines = TEXTS[f"{name}.txt"].split("\n")
    inner = [
        i
        for i, line in enumerate(lines)
        if 5 < i < len(lines) * 0.8 and len(line.split()) > 3 and not line.strip().lower().startswith("copyright")
    ]
    at = rng.choice(inner)
    words = lines[at].split(" ")
    place = next(i for i, w in enumerate(words) if i > 0 and w.isalpha())
    old, words[place] = words[place], "zebra"
    text = "\n".join([*lines[:at], " ".join(words), *lines[at + 1 :]])
    (found,) = identify("LICENSE", text)
    assert (found.licence, found.state) == (name, "edited")
    assert [(e.line, e.after) for e in found.edits] == [(at + 1, "zebra")]
    assert old in found.edits[0].before


def test_marks_of_form_are_no_edits() -> None:
    text = TEXTS["llama-3.1.txt"].replace("©", "(c)").replace("https://", "http://").replace("      i. ", "  (1) ").replace("’", "'").replace("iii. ", "(iii) ")
    found = identify("LICENSE", text.replace("(1) ", ""))[0]
    assert (found.licence, found.state) == ("llama-3.1", "unedited"), found.edits


def test_a_number_of_users_made_smaller_is_shown() -> None:
    (found,) = identify("LICENSE", TEXTS["qwen.txt"].replace("100 million", "10 million"))
    assert (found.licence, found.state) == ("qwen", "edited")
    assert [(e.before, e.after) for e in found.edits] == [("100", "10")]
    assert found.same > 0.99


def test_text_added_behind_a_heading_and_two_licences_in_one_file() -> None:
    assert identify("L", "MIT License\n\n" + TEXTS["mit.txt"])[0].state == "unedited"
    assert identify("L", TEXTS["mit.txt"] + "\nNo use in weapons.")[0].state == "appended"
    assert [(t.licence, t.state) for t in identify("L", TEXTS["apache-2.0.txt"] + "\n\nMIT License\n\n" + TEXTS["mit.txt"])] == [
        ("apache-2.0", "unedited"), ("mit", "unedited"),
    ]  # fmt: skip


def test_apache_without_its_appendix_is_unedited_and_without_a_section_is_not() -> None:
    text = TEXTS["apache-2.0.txt"]
    assert identify("L", text[: text.index("APPENDIX")])[0].state == "unedited"
    assert identify("L", text[: text.index("9. Accepting Warranty")] + text[text.index("END OF TERMS") :])[0].state == "edited"


@pytest.mark.parametrize("name", ["llama-3", "qwen-research", "openpangu-1.0"])
def test_texts_kept_as_hashes_are_compared_word_by_word(name: str) -> None:
    # The words themselves are not shipped: the text is rebuilt from a dictionary of hashes, made of the texts that are.
    shipped = (*TEXTS.values(), TABLE.licences[name].title)  # a text whose heading is not its own is another licence
    spelled = {word_hash(w.casefold()): w for t in shipped for w in words_of(t).words}
    hashes = list(TABLE.licences[name].words)
    known = [h for h in hashes if h in spelled]
    assert len(known) > 0.6 * len(hashes)
    words = [spelled.get(h, "unknownword") for h in hashes]
    text = " ".join(words[:6]) + "\n\n" + " ".join(words[6:])
    (found,) = identify("L", text)
    assert found.licence == name
    assert all(e.after.split() == ["unknownword"] * len(e.after.split()) for e in found.edits)
    assert all("of the published text" in e.before for e in found.edits)


def test_other_spdx_texts_go_to_the_classifier_and_prose_to_nobody() -> None:
    isc = (
        "ISC License\n\nCopyright (c) 2024 A B\n\nPermission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby "  # noqa: E501
        'granted, provided that the above copyright notice and this permission notice appear in all copies.\n\nTHE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR '
        "DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE "  # noqa: E501
        "FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF "  # noqa: E501
        "CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE."
    )
    assert [(t.licence, t.state) for t in identify("L", isc)] == [("ISC", "spdx")]
    assert [(t.licence, t.state) for t in identify("L", "This model is free. Do what you like.")] == [("", "unknown")]


def small(licences: str = LICENCES, models: str = MODELS, text: str = SMALL_TEXT) -> None:
    parse_table(licences, models, {"small.txt": text})


def test_the_small_table_is_read() -> None:
    small()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('card = ["small"]', 'card = ["small"]\ncolour = "red"', "unknown keys"),
        ("limits = [", "limit = [", "unknown keys"),
        ('text_source = "here"\n', "", "missing keys"),
        ('limits = ["non-commercial"]', 'limits = ["no-fun"]', "unknown limits"),
        ('check = "keep-notices"', 'check = "keep-calm"', "unknown check"),
        ('parts = ["code"]', 'parts = ["music"]', "unknown parts"),
        ('parts = ["code"]', "parts = []", "unknown parts"),
        ('severity = "medium"', 'severity = "grim"', "unknown severity"),
        ('text = "You must keep this notice."', 'text = "You must burn this notice."', "not in the published wording"),
        ('text = "small.txt"', 'text = "other.txt"', "no text"),
        ('severity = "medium"\n', "", "missing keys"),
    ],
)
def test_the_table_refuses_what_it_does_not_know(old: str, new: str, problem: str) -> None:
    assert old in LICENCES
    with pytest.raises(ValueError, match=problem):
        small(LICENCES.replace(old, new))


def test_the_model_table_refuses_unknown_licences_and_keys() -> None:
    with pytest.raises(ValueError, match="not in the table"):
        small(models=MODELS.replace('"small"', '"big"'))
    with pytest.raises(ValueError, match="unknown keys"):
        small(models=MODELS + 'size = "7B"\n')
    with pytest.raises(ValueError, match="is there twice"):
        small(LICENCES + LICENCES)
    with pytest.raises(ValueError, match="an obligation is there twice"):
        small(LICENCES + LICENCES.split("\n\n", 1)[1])


def test_every_named_licence_of_the_brief_is_there_with_duties_and_a_source() -> None:
    wanted = ["llama-2", "llama-3", "llama-3.1", "llama-3.2", "llama-3.3", "llama-4", "qwen", "qwen-research", "tongyi-qianwen", "deepseek-1.0", "gemma", "bigscience-openrail-m", "openpangu-1.0", "cc-by-nc-4.0", "openmdw-1.0", "apache-2.0", "mit"]  # noqa: E501
    for name in wanted:
        one = TABLE.licences[name]
        assert one.obligations and one.text_source, name
        assert all(o.quoted for o in one.obligations), name


def test_licences_go_by_model_and_size_never_by_family() -> None:
    sizes = {n: TABLE.of_model(f"Qwen/Qwen2.5-{n}", "") for n in ("3B", "7B", "72B")}
    assert {n: m.licence for n, m in sizes.items() if m} == {"3B": "qwen-research", "7B": "apache-2.0", "72B": "qwen"}
    assert TABLE.of_model("Qwen/Qwen2.5-9B", "") is None
    assert TABLE.of_model("google/gemma-4-27b", "") is None
    assert TABLE.of_model("google/gemma-3-27b-it", "anything").licence == "gemma"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("apache-2.0", "Apache-2.0"), ("llama3.1", "LicenseRef-scancode-llama-3.1-license-2024"), ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("gpl-3.0", "GPL-3.0-only"), ("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0"), ("other", ""), ("free for all", ""), ("", ""), ("MIT AND (", ""),
        ("MIT " * 500, ""), ("LicenseRef-openpangu-1.0", "LicenseRef-openpangu-1.0"),
    ],
)  # fmt: skip
def test_expressions(text: str, expression: str) -> None:
    assert normal_expression(text) == expression


def test_ids_of_an_expression() -> None:
    assert ids_of("MIT OR Apache-2.0") == ("mit", "apache-2.0")
    assert ids_of("BSD-3-Clause") == ("BSD-3-Clause",)
    assert ids_of("nonsense") == ()
