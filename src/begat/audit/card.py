"""What a release says of itself: the front matter of its model card and `config.json`.

Enters: a `Tree`.  Leaves: a `Declared`.  Only the keys an audit asks for are parsed, each cut out of the front matter first, so that a metric table of
a megabyte costs nothing; anchors and aliases, which let a few lines of YAML stand for gigabytes, are refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

from begat.audit.folder import Tree
from begat.audit.licences.table import TABLE
from begat.audit.origin import scratch_claim
from begat.audit.types import Declared
from begat.errors import InputError, printable

KEYS = ("license", "license_name", "license_link", "base_model", "base_model_relation", "model_name")
_MAX_FRONT = 1 << 20
_MAX_BLOCK = 64 << 10
_MAX_EVENTS = 4_000
_MAX_NESTED = 100
_MAX_CARDS = 12
_CARD = re.compile(r"(?:readme|model_?card)[^/]*\.(?:md|txt|rst)$", re.IGNORECASE)
_KEY = re.compile(r"^(" + "|".join(KEYS) + r")[ \t]*:")


def read_declared(tree: Tree, name: str) -> Declared:
    """The model card and config of a release called `name`."""
    front, note = {}, ""
    card = next((f for f in tree.sizes if f.casefold() == "readme.md"), None)
    if card is not None:
        try:
            front = front_matter(tree.text(card) or "")
        except InputError as err:
            note = f"{card}: {err.problem}"
    licence = _strings(front.get("license"))
    licence_name, link = _string(front.get("license_name")), _string(front.get("license_link"))
    config = _config(tree)
    base = _string(config.get("_name_or_path"))
    adapter = _object(tree, "adapter_config.json")
    bases = _strings(front.get("base_model"))
    from_adapter = () if bases else _strings(adapter.get("base_model_name_or_path"))
    return Declared(
        licence=licence,
        licence_name=licence_name,
        licence_link=link,
        licence_id=TABLE.of_card(licence, licence_name),
        expression=_expression(licence),
        base_models=bases or from_adapter,
        relation=_string(front.get("base_model_relation")),
        name=_string(front.get("model_name")) or name,
        config_base="" if base.startswith(("/", ".", "~")) else base,
        note=note,
        base_file="adapter_config.json" if from_adapter else card or "README.md",
        scratch=_scratch(tree, _string(front.get("model_name")) or name),
    )


def _scratch(tree: Tree, name: str) -> str:
    """The sentence by which the release's cards say that it was trained from scratch; one card that denies it is enough for none."""
    cards = [t for f in sorted(tree.sizes) if _CARD.match(f) and (t := tree.text(f))]
    return scratch_claim("\n\n".join(cards), name) if len(cards) < _MAX_CARDS else ""


def front_matter(text: str) -> dict[str, Any]:
    """The asked-for keys of a card's front matter; {} when it has none. Raises InputError on hostile or broken YAML."""
    if not text.startswith("---"):
        return {}
    end = re.search(r"^---[ \t]*$", text[3:_MAX_FRONT], re.MULTILINE)
    if end is None:
        if len(text) > _MAX_FRONT:
            raise InputError("front matter is too long")
        return {}
    body = text[3 : 3 + end.start()]
    return _parse(_blocks(body))


def _blocks(body: str) -> str:
    """The lines of the asked-for top-level keys; a front matter written as one flow mapping is kept whole."""
    if body.lstrip().startswith("{"):
        return body
    out: list[str] = []
    keep = False
    for line in body.split("\n"):
        if line[:1] not in (" ", "\t", "", "-", "#"):
            keep = _KEY.match(line) is not None
        if keep:
            out.append(line)
    return "\n".join(out)


def _parse(text: str) -> dict[str, Any]:
    import yaml

    if len(text) > _MAX_BLOCK or sum(map(text.count, "[{?:-")) > _MAX_EVENTS:
        raise InputError("front matter is too long")
    if text.count("[") + text.count("{") > _MAX_NESTED:  # the scanner takes quadratic time on nested flow collections
        raise InputError("front matter is implausibly nested")
    try:
        for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise InputError("front matter uses YAML anchors or aliases, which are not followed")
            if count > _MAX_EVENTS:
                raise InputError("front matter is too long")
        value = yaml.load(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError) as err:
        raise InputError(f"front matter is not YAML ({type(err).__name__})") from None
    return {k: v for k, v in value.items() if k in KEYS} if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    return printable(value.strip(), 200) if isinstance(value, str) else ""


def _strings(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(s for v in values[:64] if (s := _string(v)))


def _object(tree: Tree, name: str) -> dict[str, Any]:
    text = tree.text(name) if name in tree.sizes else None
    try:
        value = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _config(tree: Tree) -> dict[str, Any]:
    return _object(tree, "config.json")


def _expression(licence: tuple[str, ...]) -> str:
    from begat.audit.licences.expressions import normal_expression

    return normal_expression(licence[0]) if len(licence) == 1 else ""
