"""The notice-mutation matrix, exact; headers read from code as it is written; changes stated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from begat.audit.notices import change_statements, fate, read_anywhere, read_header

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks" / "audit")]

import notices as matrix  # noqa: E402


@pytest.mark.parametrize("mutation", matrix.MUTATIONS)
def test_the_matrix_is_exact(mutation: str) -> None:
    wrong = [c for c in matrix.cases() if c[1] == mutation and c[3] != c[4]]
    assert wrong == []


def test_the_matrix_covers_every_label() -> None:
    assert {c[3] for c in matrix.cases()} == {
        "kept", "kept in NOTICE", "kept in README.md", "partial", "replaced", "removed", "upstream-had-none", "not-determinable",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "years", "holders"),
    [
        (
            "# Copyright 2024 The Qwen team, Alibaba Group and the HuggingFace Inc. team. All rights reserved.",
            {2024},
            {"qwen", "alibaba", "huggingface"},
        ),
        ("# Copyright (c) 2018-2020, EXAMPLE CORPORATION.  All rights reserved.", {2018, 2019, 2020}, {"example"}),
        ("# (c) 2021 Jane Doe <jane@example.org>", {2021}, {"jane doe"}),
        ("# © 2019, 2021 Example Labs", {2019, 2021}, {"example labs"}),
        ("# Copyright The HuggingFace Team.", set(), {"huggingface"}),
        ("# Copyright 2018- The Hugging Face team.", {2018}, {"hugging face"}),
    ],
)
def test_copyright_lines(line: str, years: set[int], holders: set[str]) -> None:
    (found,) = read_header(line + "\nimport x\n").copyrights
    assert (set(found.years), set(found.holders)) == (years, holders)


@pytest.mark.parametrize(
    "text",
    [
        "# The above copyright notice and this permission notice shall be included.\n",
        "# distributed with the copyright holder's permission\n",
        "# (c) You must retain all notices.\n",
        "# Copyright and licence: see LICENSE\n",
        "import copyright\n# Copyright 2024 Too Late\n",
        "# copyright:\n",
        "",
    ],
)
def test_prose_is_no_statement(text: str) -> None:
    assert read_header(text).copyrights == ()


def test_headers_end_at_the_first_statement() -> None:
    text = '#!/usr/bin/env python\n# coding=utf-8\n\n"""Doc.\n\nCopyright 2020 A Lab\n"""\n# SPDX-License-Identifier: MIT\nimport x\n# Copyright 2021 Nobody\n'
    header = read_header(text)
    assert [c.text for c in header.copyrights] == ["Copyright 2020 A Lab"]
    assert header.licences == ("mit",)


def test_a_year_counts_only_in_a_statement_of_upstream() -> None:
    upstream = read_header("# Copyright 2024 Upstream Lab\n")
    assert fate(upstream, read_header("# Copyright 2024 Somebody\n"), {}).label == "replaced"
    assert fate(upstream, read_header("# Copyright 2024\n"), {}).label == "partial"


def test_a_notice_moved_in_part_is_not_kept() -> None:
    upstream = read_header("# Copyright 2024 Upstream Lab and Second Lab\n")
    assert fate(upstream, read_header(""), {"NOTICE": read_anywhere("Copyright 2024 Upstream Lab")}).label == "removed"
    both = {"NOTICE": read_anywhere("Copyright 2024 Second Lab")}
    assert fate(upstream, read_header("# Copyright 2024 Upstream Lab\n"), both).label == "kept"
    assert fate(upstream, read_header("# Copyright 2024 Upstream Lab\n"), both).place == "NOTICE"


def test_statements_of_change() -> None:
    assert change_statements("# Modified by us in 2026: no dropout.\nimport x\n") == {"Modified by us in 2026: no dropout."}
    assert change_statements("import x  # adapted from the paper's code\n") == {"adapted from the paper's code"}
    assert change_statements("# Licensed under the Apache License\nx = 'modified'\n") == frozenset()
    assert change_statements("x = (\n# changed here\n") == {"changed here"}  # does not parse


def test_upstreams_own_statements_are_not_the_releases() -> None:
    from begat.audit.attribution import own_statements

    upstream = frozenset({"Copied from models.llama with Llama->Qwen2; adapted to windows", "It has been modified from its original forms"})
    renamed = frozenset({"Copied from models.llama with Llama->Mine; adapted to windows", "It has been modified from its original forms"})
    assert own_statements(renamed, upstream) == frozenset()
    assert own_statements(renamed | {"Modified by Mine in 2026: no bias"}, upstream) == {"Modified by Mine in 2026: no bias"}
