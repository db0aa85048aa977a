"""The notice-mutation matrix: headers changed in known ways, and the label that each must get. Labels are exact by construction.

    python benchmarks/audit/notices.py

Exit code 1 when any label is wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

from begat.audit.attribution import notices
from begat.audit.code import CodeReport, FileMatch, Source, UnitMatch
from begat.audit.folder import Tree

APACHE = """Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0
"""
MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software.\n"
#: form → (copyright lines, licence text, a holder that can be dropped)
FORMS = {
    "three holders in one line": (("Copyright 2024 The Ruda team, Example Group and the Exemplar Inc. team. All rights reserved.",), APACHE, ", Example Group"),
    "two statements": (("Copyright 2018 The Example AI Language Team Authors.", "Copyright (c) 2018-2021, EXEMPLAR CORPORATION.  All rights reserved."), APACHE,
                       "The Example AI Language Team Authors"),
    "one holder": (("Copyright 2023 Exemplar Inc. and its affiliates.",), APACHE, "Exemplar Inc. and its affiliates"),
    "MIT": (("Copyright (c) 2022 Jane Doe, Example Lab",), MIT, "Jane Doe, "),
    "SPDX": (("© 2021 Example Foundation and Jane Doe",), "SPDX-License-Identifier: BSD-3-Clause\n", "Example Foundation and "),
}  # fmt: skip
BODY = "\nimport math\n\n\ndef half(x):\n    return math.floor(x / 2)\n"
OWN = "Copyright 2026 The Own Company Ltd. All rights reserved."

Mutation = Callable[[tuple[str, ...], str, str], tuple[str, dict[str, str]]]


def comments(lines: tuple[str, ...], licence: str) -> str:
    """A header of comment lines."""
    return "".join(f"# {x}".rstrip() + "\n" for x in (*lines, "", *licence.split("\n")))


def docstring(lines: tuple[str, ...], licence: str) -> str:
    """The same inside the module's docstring, broken otherwise."""
    return '"""A model.\n\n' + "\n  ".join(lines) + "\n\n" + licence.replace("\n", "\n  ") + '"""\n'


def own(kind: str) -> str:
    """A header of one's own."""
    return comments((OWN,), "") if kind == "copyright" else comments((OWN,), "All terms are ours.\n")


#: mutation → (what it makes of lines, licence and a droppable holder: file header and other files; the label)
MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "unchanged": (lambda c, x, h: (comments(c, x), {}), "kept"),
    "reformatted": (lambda c, x, h: (docstring(c, x), {}), "kept"),
    "years widened": (lambda c, x, h: (comments(tuple(re.sub(r"((?:19|20)\d\d)(-\d{4})?", r"\1-2026", s) for s in c), x), {}), "kept"),
    "own appended": (lambda c, x, h: (comments((*c, OWN), x), {}), "kept"),
    "moved to NOTICE": (lambda c, x, h: ("", {"NOTICE": "\n".join(c) + "\n" + x}), "kept in NOTICE"),
    "moved to README": (lambda c, x, h: (own("copyright"), {"README.md": "# Model\n\nPortions: " + "\n".join(c) + "\n" + x}), "kept in README.md"),
    "holder dropped": (lambda c, x, h: (comments(tuple(s.replace(h, "") for s in c), x), {}), "partial"),
    "year dropped": (lambda c, x, h: (comments(tuple(re.sub(r"(19|20)\d\d(-\d{4})?,?", "", s) for s in c), x), {}), "partial"),
    "year changed": (lambda c, x, h: (comments(tuple(re.sub(r"(19|20)\d\d(-\d{4})?", "1999", s) for s in c), x), {}), "partial"),
    "licence kept, copyright dropped": (lambda c, x, h: (comments((), x), {}), "partial"),
    "copyright kept, licence dropped": (lambda c, x, h: (comments(c, ""), {}), "partial"),
    "replaced by own": (lambda c, x, h: (own("copyright"), {}), "replaced"),
    "replaced by own, licence kept": (lambda c, x, h: (comments((OWN,), x), {}), "replaced"),
    "replaced by own of the same year": (
        lambda c, x, h: (comments((re.sub("2026", re.search(r"(19|20)\d\d", c[0])[0], OWN),), ""), {}), "replaced"),  # type: ignore[index]
    "removed": (lambda c, x, h: ("", {}), "removed"),
    "removed, a comment stays": (lambda c, x, h: ("# Attention and MLP.\n", {}), "removed"),
    "removed, NOTICE names others": (lambda c, x, h: ("", {"NOTICE": OWN + "\n"}), "removed"),
}  # fmt: skip
#: upstream as matched: one version with the notice; one without; two versions that fit alike, one with and one without (a notice that is there was kept
#: in any case; of one that is not, nothing can be said)
UPSTREAMS = ("had a notice", "had none", "unknown")


def tree(files: dict[str, str]) -> Tree:
    """Files in memory as a tree."""
    return Tree(
        Path("memory"), None, {n: len(t.encode()) for n, t in files.items()}, (), lambda n, limit: files[n].encode()[:limit]
    )


def label(release: dict[str, str], versions: dict[str, str]) -> str:
    """The label of `modeling.py` of a release matched to `upstream.py` of these versions."""
    sources = tuple(Source("up", v, "upstream.py", "half", (1, 1), 1.0) for v in versions)
    report = CodeReport(
        units=(UnitMatch("half", "modeling.py", (20, 21), "established", 1.0, 0.5, sources),), references=("up",), digest="", calibration="",
        files=(FileMatch("modeling.py", "established", 1.0, "up", "upstream.py", tuple(versions), dict.fromkeys(versions, 1.0)),),
    )  # fmt: skip
    (result,) = notices(report, tree(release), {("up", v): tree({"upstream.py": t}) for v, t in versions.items()})
    return result.label + (f" in {result.place}" if result.label == "kept" and result.place != "modeling.py" else "")


def cases() -> list[tuple[str, str, str, str, str]]:
    """(form, mutation, upstream, expected, found) of every cell."""
    out = []
    for (form, (lines, licence, holder)), (name, (mutate, expected)), upstream in itertools.product(
        FORMS.items(), MUTATIONS.items(), UPSTREAMS
    ):
        header, others = mutate(lines, licence, holder)
        full, bare = comments(lines, licence) + BODY, "# Attention and MLP.\n" + BODY
        versions = {"had a notice": {"1": full}, "had none": {"1": bare}, "unknown": {"1": full, "2": bare}}[upstream]
        wanted = {
            "had a notice": expected,
            "had none": "upstream-had-none",
            "unknown": expected if expected.startswith("kept") else "not-determinable",
        }[upstream]
        out.append((form, name, upstream, wanted, label({"modeling.py": header + BODY} | others, versions)))
    return out


def main() -> None:
    found = cases()
    wrong = [c for c in found if c[3] != c[4]]
    print(f"| {'mutation':34} | " + " | ".join(UPSTREAMS) + " |\n|---|---|---|---|")
    for name in MUTATIONS:
        cells = []
        for upstream in UPSTREAMS:
            here = [c for c in found if c[1] == name and c[2] == upstream]
            cells.append(f"{', '.join(sorted({c[4] for c in here}))} ({sum(c[3] == c[4] for c in here)}/{len(here)})")
        print(f"| {name:34} | " + " | ".join(cells) + " |")
    print(f"{len(found) - len(wrong)} of {len(found)} labels right, over {len(FORMS)} forms of header")
    for case in wrong:
        print("WRONG", case)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
