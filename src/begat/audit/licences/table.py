"""The table of model licences, read strictly.

Enters: `licences.toml`, `models.toml`, `texts/`.  Leaves: `TABLE`. An unknown or missing key, an unknown check and a quotation that is not in the published
wording raise ValueError at import, so that a typo can neither drop a duty nor invent one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from begat.audit.licences.words import digest_of, word_hash, words_of

#: what a licence allows that bears on conflicts between licences; each is the name of a `limits` entry
LIMITS = ("non-commercial", "use-restrictions", "user-count", "region", "no-improving-others")
#: names of the checks in `checks.py`
CHECKS = (
    "licence-copy", "notice-sentence", "display", "name-prefix", "change-notice", "keep-notices", "upstream-notice", "pass-restrictions",
    "not-checkable",
)  # fmt: skip
PARTS = ("weights", "code", "tokenizer")
_LICENCE = {"id", "title", "titles", "spdx", "card", "names", "text", "text_source", "optional_from", "limits", "obligation"}
_OBLIGATION = {"id", "check", "parts", "phrases", "clause", "quoted", "text", "severity", "remedy"}
_MODEL = {"repositories", "revision", "licence", "source"}


@dataclass(frozen=True, slots=True)
class Obligation:
    """One duty: which check looks for it, for which reused parts, and the clause it rests on.

    `phrases`: what must be found, any one of them; for "name-prefix" the prefix. `quoted`: `text` is the licence's own wording.
    """

    id: str
    check: str
    parts: tuple[str, ...]
    phrases: tuple[str, ...]
    clause: str
    quoted: bool
    text: str
    severity: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence: its names, its published wording as word hashes, its limits and duties.

    `titles`: other headings that the same text goes by. `shown`: the published words in clear, () where only hashes are shipped.
    `optional_from`: index of the first word that may be left out.
    """

    id: str
    title: str
    titles: tuple[str, ...]
    spdx: str
    card: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[str, ...]
    shown: tuple[str, ...]
    text_source: str
    optional_from: int | None
    limits: tuple[str, ...]
    obligations: tuple[Obligation, ...]

    @property
    def titled(self) -> bool:
        """Does the published text begin with the licence's name? (MIT's has none.)"""
        names = {word_hash(w.casefold()) for w in words_of(self.title).words if not w[0].isdigit()}
        return bool(names & set(self.words[:16]) - {word_hash("license")})

    @property
    def runs(self) -> set[tuple[str, ...]]:
        """Five-word runs of the published wording."""
        return {self.words[i : i + 5] for i in range(len(self.words) - 4)}

    def show(self, part: slice) -> str:
        """Published words in clear, or how many there are."""
        count = part.stop - part.start
        if not count:
            return ""
        if not self.shown:
            return f"({count} {'word' if count == 1 else 'words'} of the published text)"
        return " ".join(self.shown[part][:40]) + (" …" if count > 40 else "")


@dataclass(frozen=True, slots=True)
class ModelLicence:
    """Models of one publisher, by repository id and revision ("any" = every revision), and the licence they are under."""

    repositories: tuple[str, ...]
    revision: str
    licence: str
    source: str


class Table:
    """Licences by id, card field, SPDX key and hash; models by repository id."""

    def __init__(self, licences: Mapping[str, Licence], models: tuple[ModelLicence, ...]) -> None:
        self.licences, self.models = licences, models
        self.by_sha256 = {digest_of(one.words): one for one in licences.values()}
        for one in licences.values():
            if one.optional_from is not None:
                self.by_sha256[digest_of(one.words[: one.optional_from])] = one
        self._card = _unique((c.casefold(), one.id) for one in licences.values() for c in one.card)
        self._names = _unique((n.casefold(), one.id) for one in licences.values() for n in one.names)
        self._spdx = _unique((one.spdx.casefold(), one.id) for one in licences.values())

    def of_card(self, licence: tuple[str, ...], name: str) -> str:
        """Id of the licence that a card's `license` and `license_name` mean, "" when it is not in the table or there are several."""
        if len(licence) != 1:
            return ""
        field = licence[0].casefold()
        if field == "other":
            return self._names.get(name.casefold(), "")
        return self._card.get(field, "") or self._spdx.get(field, "")

    def of_spdx(self, key: str) -> str:
        """Id of an SPDX key, "" when it is not in the table."""
        return self._spdx.get(key.casefold(), "")

    def of_model(self, repository: str, revision: str) -> ModelLicence | None:
        """The licence of a model by its repository id; an entry for the revision itself comes first."""
        found = [m for m in self.models if repository.casefold() in (r.casefold() for r in m.repositories)]
        exact = [m for m in found if revision and m.revision == revision]
        return next(iter(exact or [m for m in found if m.revision == "any"]), None)


def _unique(pairs: Any) -> dict[str, str]:
    out: dict[str, str] = {}
    for key, value in pairs:
        if out.setdefault(key, value) != value:
            raise ValueError(f"'{key}' names both {out[key]} and {value}")
    return out


def parse_table(licences: str, models: str, texts: Mapping[str, str]) -> Table:
    """Parse both tables; ValueError on anything unknown, missing, of another type, or quoted that is not in the wording."""
    data = tomllib.loads(licences)
    _exactly(data, {"licence"}, "licences")
    out: dict[str, Licence] = {}
    for raw in data["licence"]:
        one = _licence(raw, texts)
        if out.setdefault(one.id, one) is not one:
            raise ValueError(f"licence '{one.id}' is there twice")
    data = tomllib.loads(models)
    _exactly(data, {"model"}, "models")
    known = []
    for raw in data["model"]:
        _exactly(raw, _MODEL, f"model {raw.get('repositories')}")
        if raw["licence"] not in out:
            raise ValueError(f"model {raw['repositories']}: licence '{raw['licence']}' is not in the table")
        known.append(ModelLicence(tuple(raw["repositories"]), raw["revision"], raw["licence"], raw["source"]))
    return Table(out, tuple(known))


def _licence(raw: Mapping[str, Any], texts: Mapping[str, str]) -> Licence:
    where = f"licence {raw.get('id')}"
    _exactly(raw, _LICENCE, where, optional={"optional_from", "titles"})
    if unknown := set(raw["limits"]) - set(LIMITS):
        raise ValueError(f"{where}: unknown limits {sorted(unknown)}")
    if raw["text"] not in texts:
        raise ValueError(f"{where}: no text '{raw['text']}'")
    hashes, shown = _text(raw["text"], texts[raw["text"]])
    optional = raw.get("optional_from")
    start = None if optional is None else _find(hashes, words_of(optional).hashes, where)
    duties = tuple(_obligation(o, hashes, where) for o in raw["obligation"])
    if len({o.id for o in duties}) < len(duties):
        raise ValueError(f"{where}: an obligation is there twice")
    return Licence(
        raw["id"], raw["title"], tuple(raw.get("titles", ())), raw["spdx"], tuple(raw["card"]), tuple(raw["names"]), hashes, shown, raw["text_source"], start,
        tuple(raw["limits"]), duties,
    )  # fmt: skip


def _text(name: str, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(hashes, words in clear) of a shipped text: `.txt` in clear, `.words` as hashes."""
    if name.endswith(".words"):
        return tuple(text.split()), ()
    words = words_of(text)
    return words.hashes, words.words


def _obligation(raw: Mapping[str, Any], hashes: tuple[str, ...], where: str) -> Obligation:
    where = f"{where}, obligation {raw.get('id')}"
    _exactly(raw, _OBLIGATION, where)
    if raw["check"] not in CHECKS:
        raise ValueError(f"{where}: unknown check '{raw['check']}'")
    if not raw["parts"] or set(raw["parts"]) - set(PARTS):
        raise ValueError(f"{where}: unknown parts {raw['parts']}")
    if raw["severity"] not in ("high", "medium", "low", "none"):
        raise ValueError(f"{where}: unknown severity '{raw['severity']}'")
    if raw["quoted"]:
        for piece in raw["text"].split(" […] "):
            _find(hashes, tuple(word_hash(w.casefold()) for w in words_of("\n" + piece).words), where)
    return Obligation(
        raw["id"], raw["check"], tuple(raw["parts"]), tuple(raw["phrases"]), raw["clause"], raw["quoted"], raw["text"], raw["severity"],
        raw["remedy"],
    )  # fmt: skip


def _find(hashes: tuple[str, ...], part: tuple[str, ...], where: str) -> int:
    for start in range(len(hashes) - len(part) + 1):
        if part and hashes[start : start + len(part)] == part:
            return start
    raise ValueError(f"{where}: what it quotes is not in the published wording")


def _exactly(table: Mapping[str, Any], keys: set[str], where: str, optional: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    if unknown := set(table) - keys:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}")
    if missing := keys - set(table) - optional:
        raise ValueError(f"{where}: missing keys {sorted(missing)}")


def _load() -> Table:
    here = resources.files("begat.audit.licences")
    texts = {f.name: f.read_text("utf-8") for f in here.joinpath("texts").iterdir() if f.name.endswith((".txt", ".words"))}
    return parse_table(here.joinpath("licences.toml").read_text("utf-8"), here.joinpath("models.toml").read_text("utf-8"), texts)


TABLE = _load()
