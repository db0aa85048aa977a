"""What the rules are given and what they share.

Enters: everything measured.  Leaves: `Facts` for the rules, helpers that build findings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from begat.audit.checkpoints import Unopened
from begat.audit.code.types import CodeReport
from begat.audit.folder import Tree
from begat.audit.licences.table import TABLE, Obligation
from begat.audit.origin import names_same, standing
from begat.audit.types import (
    Ancestor,
    Clause,
    Declared,
    LicenceText,
    NoticeResult,
    Party,
    Reference,
    TokenizerResult,
    WeightsResult,
)
from begat.pipeline.words import ranges

_NOTICES = ("notice", "open source", "attribution", "credits", "third")


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything measured and read; the rules draw findings from it and measure nothing.

    `require`: questions that have to be answered. `unopened`: files of the release that look like weights and were not opened. `searched`: known models
    whose fingerprints the release's weights were held against. `through`: (reference, declared base, level of the dependence between their weights).
    """

    release: Party
    tree: Tree
    references: tuple[Party, ...]
    trees: Mapping[tuple[str, str], Tree]
    weights: tuple[WeightsResult, ...]
    code: CodeReport | None
    code_not_run: str | None
    tokenizers: tuple[TokenizerResult, ...]
    notices: tuple[NoticeResult, ...]
    texts: tuple[LicenceText, ...]
    headers: tuple[tuple[str, str], ...]
    declared: Declared
    require: tuple[str, ...] = ()
    unopened: tuple[Unopened, ...] = ()
    searched: int = 0
    through: tuple[tuple[str, str, str], ...] = ()

    def party(self, name: str, version: str = "") -> Party:
        """The reference of that name, of that version where several share it."""
        found = [p for p in self.references if p.id == name]
        return next((p for p in found if p.version == version), found[0])

    def tree_of(self, name: str, version: str = "") -> Tree | None:
        """The files of the reference of that name (and version); None where only its fingerprint is known."""
        party = self.party(name, version)
        return self.trees.get((party.id, party.version))

    def reference(self, name: str, version: str = "") -> Reference:
        """As a finding names it."""
        party = self.party(name, version)
        return Reference(party.id, version or party.version, party.sha256)


def title(licence: str) -> str:
    """A licence's title, or its id."""
    return TABLE.licences[licence].title if licence in TABLE.licences else licence


def clause(licence: str, duty: Obligation) -> Clause:
    """The clause behind a duty, with where its wording was read."""
    one = TABLE.licences[licence]
    return Clause(one.title, duty.clause, duty.text, duty.quoted, one.text_source)


def duty_of(licence: str, check: str) -> Obligation | None:
    """The first duty of a licence with that check, None when it has none or is not in the table."""
    one = TABLE.licences.get(licence)
    return None if one is None else next((o for o in one.obligations if o.check == check), None)


def same_model(a: str, b: str) -> bool:
    """Do two ids name one model? Whole ids are compared where both have an owner, else their last parts."""
    a, b = a.casefold().strip("/"), b.casefold().strip("/")
    return a == b if "/" in a and "/" in b else a.rsplit("/", 1)[-1] == b.rsplit("/", 1)[-1]


def declared_in(facts: Facts, name: str) -> str:
    """The file that names this reference as base: the card, the adapter's config, or config.json; "" when none does."""
    if any(same_model(name, one) or names_same(name, one) for one in facts.declared.base_models):
        return facts.declared.base_file
    config = facts.declared.config_base
    return "config.json" if config and (same_model(name, config) or names_same(name, config)) else ""


def origin_of(facts: Facts, name: str) -> tuple[str, str]:
    """(how the release's documents name a reference, where): "said", "named" or "compared" as in `begat.audit.origin.standing`; a notice says it."""
    found: dict[str, str] = {}
    for file in sorted(facts.tree.sizes):
        last = file.rsplit("/", 1)[-1].casefold()
        text = facts.tree.text(file) if last.endswith((".md", ".txt", ".rst")) or last.startswith(_NOTICES) else None
        if text is not None and not any(t.file == file for t in facts.texts):
            how = standing(text, name)
            found.setdefault("said" if how and last.startswith(_NOTICES) else how, file)
    return next(((how, found[how]) for how in ("said", "named", "compared") if how in found), ("", ""))


def mentioned(facts: Facts, name: str) -> str:
    """The document of the release that mentions a reference by name; "" when none does."""
    wanted = re.compile(r"(?<![\w.-])" + re.escape(name.rsplit("/", 1)[-1]) + r"(?!\w)", re.IGNORECASE)
    for file in sorted(facts.tree.sizes):
        if file.casefold().endswith((".md", ".txt", ".rst")) or file.rsplit("/", 1)[-1].casefold().startswith(
            ("notice", "open source")
        ):
            text = facts.tree.text(file)
            if text is not None and wanted.search(text):
                return file
    return ""


def duty_level(ancestor: Ancestor, part: str) -> str:
    """At which level a licence bears on a part: that of its reuse, but "indicated" for weights of which it is open whether trained ones were taken over."""
    found = levels(ancestor, part)
    unsure = part == "weights" and ancestor.relation == "open" and not ancestor.declared
    return "indicated" if unsure and found == "established" else found


def weights_of(ancestor: Ancestor) -> str:
    """The weights that a dependence is said of: all, or the parts that show it."""
    if not ancestor.parts:
        return "the weights"
    return f"parts of the weights ({ranges(ancestor.parts)})"


def levels(ancestor: Ancestor, part: str) -> str:
    """Level "established", "indicated" or "" for one part of an ancestor."""
    return "established" if part in ancestor.established else "indicated" if part in ancestor.indicated else ""
