"""A licence text is an edited X only where it calls itself X: other names, versions and dates, known or not, make it another licence."""

from __future__ import annotations

from importlib import resources

import pytest

from begat.audit.findings.licence import _own_text
from begat.audit.licences.dates import Date, agree, cut_dates
from begat.audit.licences.identify import identify
from begat.audit.licences.table import TABLE
from begat.audit.licences.titles import read_title
from begat.audit.types import LicenceText

TEXTS = resources.files("begat.audit.licences").joinpath("texts")
#: licence → (lines of its published heading, words that an editor changes, what into)
EDITS = {
    "apache-2.0": (4, "perpetual", "revocable"), "mit": (0, "substantial portions", "all portions"), "llama-2": (2, "700 million", "7 million"),
    "llama-3.1": (2, "700 million", "7 million"), "llama-3.3": (3, "700 million", "7 million"), "llama-4": (3, "700 million", "7 million"),
    "gemma": (3, "Distribution", "Publication"), "gemma-2024": (3, "Distribution", "Publication"), "qwen": (4, "100 million", "10 million"),
    "tongyi-qianwen": (4, "100 million", "10 million"), "deepseek-1.0": (5, "restrictions", "limits"),
    "bigscience-openrail-m": (2, "Licensor", "Provider"), "bigcode-openrail-m": (1, "Contributor", "Helper"),
    "cc-by-nc-4.0": (1, "Licensor", "Provider"), "openmdw-1.0": (1, "notices", "credits"),
}  # fmt: skip
ANOTHER = [
    ("llama-4", "LLAMA 5 COMMUNITY LICENSE AGREEMENT\n\nLlama 5 Version Effective Date: May 1, 2027"),
    ("llama-4", "# Llama 5 Community License"), ("llama-4", "llama 5 community license agreement, v5"),
    ("llama-4", "LLAMA GUARD 4 COMMUNITY LICENSE AGREEMENT"), ("llama-3.3", "**LLAMA 3.4 COMMUNITY LICENSE AGREEMENT**"),
    ("llama-3.1", "Meta Llama 3 Community License Agreement"), ("llama-2", "Code Llama Research License"),
    ("llama-2", "LLAMA 2 HERON COMMUNITY LICENSE AGREEMENT\nLlama 2 Version Release Date: July 18, 2023"),
    ("gemma", "Gemma Terms of Use v3"), ("gemma", "Gemma Terms v3"), ("gemma", "Gemma Terms of Use\n\nLast modified: May 20, 2026"),
    ("gemma", "## Gemma Terms of Use\n*Last modified: 2026-05-20*"), ("gemma", "MedGemma Terms of Use\n\nLast modified: March 24, 2025"),
    ("qwen", "Qwen Research License 2"), ("qwen", "Qwen3 LICENSE AGREEMENT\n\nRelease Date: May 1, 2026"),
    ("qwen", "Qwen LICENSE AGREEMENT\n\nQwen LICENSE AGREEMENT Release Date: January 1, 2026"), ("qwen", "Heron License Agreement"),
    ("tongyi-qianwen", "Tongyi Wanxiang LICENSE AGREEMENT"), ("tongyi-qianwen", "通义万相许可协议"),
    ("deepseek-1.0", "DEEPSEEK LICENSE AGREEMENT\n\nVersion 2.0, 1 March 2026\n\nCopyright (c) 2026 DeepSeek"),
    ("deepseek-1.0", "DeepSeek License Agreement v1.1"), ("deepseek-1.0", "DEEPSEEK-CODER MODEL LICENSE"),
    ("bigscience-openrail-m", "CreativeML Open RAIL-M\ndated August 22, 2022"), ("bigscience-openrail-m", "Open RAIL++-M License"),
    ("bigscience-openrail-m", "BigScience RAIL License v1.0\ndated May 19, 2022"), ("bigscience-openrail-m", "RAIL License 1.0"),
    ("bigcode-openrail-m", "BigCode OpenRAIL-M v2 License Agreement"),
    ("cc-by-nc-4.0", "Attribution-NonCommercial-ShareAlike 4.0 International"), ("cc-by-nc-4.0", "Attribution-NonCommercial 3.0 Unported"),
    ("openmdw-1.0", "OpenMDW License Agreement, version 1.1 (OpenMDW-1.1)"), ("openmdw-1.0", "OpenMDW-2.0"),
    ("apache-2.0", "Falcon 2 11B TII License Version 1.0\nMay 2024\nThe license is partly based on the Apache License Version 2.0"),
    ("apache-2.0", "Apache License\nVersion 3.0, January 2030\nhttp://www.apache.org/licenses/"), ("apache-2.0", "APACHE LICENSE V3"),
    ("apache-2.0", "Apache License 2.0 with Commons Clause"), ("apache-2.0", "SPDX-License-Identifier: LicenseRef-Heron-1.0"),
    ("apache-2.0", "苍鹭许可证\n第二版"), ("apache-2.0", "苍鹭模型许可协议 2.0版"), ("apache-2.0", "<h1>Heron License</h1>"),
    ("apache-2.0", "Lizenz des Reiher-Instituts"), ("apache-2.0", "/*\n * Heron License\n */"),
    ("mit", "Modified MIT License\n\nCopyright (c) 2025 Heron AI"), ("mit", "Heron Community License"), ("mit", "The Heron License (HL)"),
]  # fmt: skip
ITS_OWN = [
    ("apache-2.0", "Apache License\n      Version 2.0, January 2004\n   http://www.apache.org/licenses/"), ("apache-2.0", "Apache License v2"),
    ("apache-2.0", "# Apache License\n\n_Version 2.0, January 2004_\n\n[http://www.apache.org/licenses/](http://www.apache.org/licenses/)"),
    ("apache-2.0", "Apache License 2.0"), ("apache-2.0", "Apache License, Version 2"), ("apache-2.0", "SPDX-License-Identifier: Apache-2.0"),
    ("apache-2.0", "Copyright 2024 Heron Institute\n\nApache License\nVersion 2.0, January 2004"), ("apache-2.0", "Apache许可证 2.0版"),
    ("apache-2.0", "This repository is licensed under the Apache License, Version 2.0, see below.\n\nApache License\nVersion 2.0, January 2004"),
    ("mit", "MIT License\n\nCopyright (c) 2024 Heron"), ("mit", "The MIT License (MIT)\n\nCopyright (c) 2024 Heron"), ("mit", ""),
    ("mit", "Heron-7B v1.2\n\nCopyright (c) 2024 Heron"), ("mit", "MIT 许可证"),
    ("llama-4", "LLAMA 4 COMMUNITY LICENSE AGREEMENT\n\nLlama 4 Version Effective Date: April 5, 2025"),
    ("llama-4", "Llama 4 Community License"), ("llama-3.1", "META LLAMA 3.1 COMMUNITY LICENSE AGREEMENT"),
    ("gemma", "Gemma Terms of Use\n\nLast modified: March 24, 2025"), ("gemma", "GEMMA TERMS OF USE\nLast modified: 24 March 2025"),
    ("gemma-2024", "Gemma Terms of Use\n\nLast modified: April 1, 2024"),
    ("qwen", "Qwen LICENSE AGREEMENT\n\nQwen LICENSE AGREEMENT Release Date: September 19, 2024"),
    ("tongyi-qianwen", "通义千问许可协议\nTongyi Qianwen LICENSE AGREEMENT\nTongyi Qianwen Release Date: August 3, 2023"),
    ("deepseek-1.0", "DeepSeek License Agreement Version 1"), ("deepseek-1.0", "DEEPSEEK LICENSE AGREEMENT\n\nVersion 1.0, 23 October 2023"),
    ("bigscience-openrail-m", "BigScience OpenRAIL-M\n2022-08-18"), ("bigcode-openrail-m", "BigCode Open RAIL-M v1 License Agreement"),
    ("cc-by-nc-4.0", "Creative Commons Attribution-NonCommercial 4.0 International Public License"), ("cc-by-nc-4.0", "CC BY-NC 4.0 License"),
    ("openmdw-1.0", "OpenMDW License Agreement, version 1.0 (OpenMDW-1.0)"),
]  # fmt: skip


def published(licence: str) -> str:
    return TEXTS.joinpath(f"{licence}.txt").read_text("utf-8")


def body(licence: str) -> str:
    """The published text without its heading, with some words changed."""
    lines, old, new = EDITS[licence]
    text = "\n".join(published(licence).split("\n")[lines:])
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize("form", ["as written", "upper case"])
@pytest.mark.parametrize(("licence", "heading"), ANOTHER)
def test_another_name_version_or_date_is_another_licence(licence: str, heading: str, form: str) -> None:
    text = (heading if form == "as written" else heading.upper()) + "\n\n" + body(licence)
    (found,) = identify("LICENSE", text)
    assert found.state in ("other", "alike", "spdx")
    assert found.licence != licence
    told = _own_text(found)
    assert (told.bearing, told.severity) == ("fact", "none")


@pytest.mark.parametrize(("licence", "heading"), ANOTHER)
def test_without_line_breaks_too(licence: str, heading: str) -> None:
    (found,) = identify("LICENSE", " ".join(f"{heading} {body(licence)}".split()))
    assert (found.licence, found.state) != (licence, "edited")


@pytest.mark.parametrize(("licence", "heading"), ITS_OWN)
def test_the_published_name_over_changed_words_is_an_edited_text(licence: str, heading: str) -> None:
    (found,) = identify("LICENSE", f"{heading}\n\n{body(licence)}")
    assert (found.licence, found.state) == (licence, "edited")
    assert _own_text(found).bearing == "against"


def test_the_heading_is_quoted_and_the_nearest_wording_named() -> None:
    (found,) = identify("LICENSE", "Heron Community License 3\n\n" + body("qwen"))
    assert (found.state, found.like, found.title) == ("other", "qwen", "Heron Community License 3")
    sentence = _own_text(found).sentence
    assert "calls itself “Heron Community License 3”" in sentence and "another licence than the Qwen License Agreement" in sentence


def test_without_any_heading_only_a_few_changed_words_are_called_edits() -> None:
    lines = EDITS["qwen"][0]
    bare = "\n".join(published("qwen").split("\n")[lines:])
    (few,) = identify("LICENSE", bare.replace("100 million", "10 million"))
    assert (few.licence, few.state) == ("qwen", "edited")
    (many,) = identify("LICENSE", bare.replace("Materials", "Things").replace("Agreement", "Paper"))
    assert (many.licence, many.state, many.like) == ("", "alike", "qwen")
    assert _own_text(many).level == "not-determinable"


def test_two_editions_differ_by_less_than_an_unnamed_text_may() -> None:
    """What a text may differ by without a heading is less than what two published editions of one name differ by."""
    texts = {n: published(n) for n in ("gemma", "gemma-2024")}
    lines = EDITS["gemma"][0]
    (found,) = identify("LICENSE", "\n".join(texts["gemma-2024"].split("\n")[lines:]).replace("2025", "2024"))
    assert found.state != "edited" or found.licence == "gemma-2024"


def test_a_whole_text_under_a_heading_of_ones_own_still_holds_it() -> None:
    (found,) = identify("LICENSE", "Third-Party License Notice\n\n" + published("llama-3.1"))
    assert (found.licence, found.state) == ("llama-3.1", "unedited")
    (found,) = identify("LICENSE", "Third-Party License Notice\n\n" + published("llama-3.1") + "\nWe thank all.\n")
    assert (found.licence, found.state) == ("llama-3.1", "appended")
    (modified,) = identify("LICENSE", "Modified MIT License\n\n" + published("mit") + "\nAbove a million users, show our name.\n")
    assert (modified.licence, modified.state, modified.like, modified.same) == ("", "other", "mit", 1.0)


def test_the_heading_of_a_licence_known_by_hashes() -> None:
    pangu = TABLE.licences["openpangu-1.0"]
    assert read_title(["OPENPANGU MODEL LICENSE AGREEMENT VERSION 1.0"], pangu).stands == "own"
    assert read_title(["OPENPANGU MODEL LICENSE AGREEMENT VERSION 2.0"], pangu).stands == "other"
    assert read_title(["openPangu 模型许可协议 版本2.0"], pangu).stands == "other"
    assert read_title(["openPangu 模型许可协议 版本1.0"], pangu).stands == "own"
    assert read_title(["Qwen LICENSE AGREEMENT"], TABLE.licences["qwen-research"]).stands == "other"


@pytest.mark.parametrize("licence", sorted(TABLE.licences))
def test_every_licence_knows_its_own_names(licence: str) -> None:
    one = TABLE.licences[licence]
    for name in (one.title, *one.titles):
        assert read_title([name if "icense" in name or "erms" in name else f"{name} License"], one).stands in ("own", "edition")


@pytest.mark.parametrize(
    ("line", "date"),
    [
        ("Last modified: March 24, 2025", (2025, 3, 24)), ("24 March 2025", (2025, 3, 24)), ("dated 24 November", (None, 11, 24)),
        ("2024-07-23", (2024, 7, 23)), ("2024年7月23日", (2024, 7, 23)), ("January 2004", (2004, 1, None)), ("Sept. 3rd, 2024", (2024, 9, 3)),
    ],
)  # fmt: skip
def test_dates(line: str, date: tuple[int | None, int | None, int | None]) -> None:
    rest, (found,) = cut_dates(line)
    assert (found.year, found.month, found.day) == date
    assert not any(c.isdigit() for c in rest)


def test_dates_are_compared_as_far_as_they_are_written() -> None:
    known = Date(2025, 3, 24, ())
    assert agree(Date(2025, 3, None, ()), [known]) and agree(Date(None, 3, 24, ()), [known])
    assert not agree(Date(2025, 4, None, ()), [known]) and not agree(known, [])
    assert cut_dates("Version 3.10.2024 of 2.0")[1] == () and cut_dates("may 5 licences")[0].strip() == "licences"


def test_a_licence_text_says_what_state_it_is_in() -> None:
    for state in ("unedited", "appended", "other", "alike", "spdx", "scancode", "unknown"):
        assert _own_text(LicenceText("LICENSE", "mit" if state not in ("other", "alike", "unknown") else "", state, 0.9, (), "", "mit", "T")).sentence
