"""Who a release or reference is: its id, version, digest, licence, and what it holds.

Enters: what the user named, the files.  Leaves: a `Party`. Where a licence is known from is said, because the sources differ in worth: the text in the
folder itself, begat's table of models by repository id, a package's metadata, the card.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from begat.audit.checkpoints import any_weights
from begat.audit.folder import ARCHIVES, Tree, digest
from begat.audit.licences.expressions import ids_of
from begat.audit.licences.table import TABLE
from begat.audit.types import Declared, LicenceText, Party
from begat.errors import InputError

_TOKENIZERS = ("tokenizer.json", "tekken.json", "tokenizer.model", "tiktoken.model", "vocab.json", "vocab.txt")


#: a snapshot in Hugging Face's cache says which repository and revision it is
_CACHED = re.compile(r"/models--(?P<id>[^/]+)/snapshots/(?P<revision>[^/]+)$")


@dataclass(frozen=True, slots=True)
class Named:
    """A path and what it is called; version "" when not given. `given`: the user named it, or an archive's name says who it is."""

    path: Path
    id: str
    version: str
    given: bool = True


def parse_reference(text: str) -> Named:
    """PATH, ID=PATH or ID@VERSION=PATH. A path that exists as written wins."""
    path, named = Path(text), ("", "")
    if not path.exists() and "=" in text:
        name, _, rest = text.partition("=")
        path, named = Path(rest), (name.partition("@")[0], name.partition("@")[2])
    if not path.exists() or path == Path():
        raise InputError("no such file or folder", file=path, fix="name a folder or archive, as PATH, ID=PATH or ID@VERSION=PATH")
    if named[0]:
        return Named(path, *named)
    cached = _CACHED.search(path.resolve().as_posix())
    if cached:
        return Named(path, cached["id"].replace("--", "/", 1), cached["revision"])
    name = path.resolve().name
    for ending in ARCHIVES:
        if name.casefold().endswith(ending):
            found = re.match(r"(?P<id>[A-Za-z0-9._]+?)-(?P<version>[0-9][^-]*)", name[: -len(ending)])
            if found:
                return Named(path, found["id"].replace("_", "-"), found["version"])
            return Named(path, name[: -len(ending)], "")
    return Named(path, name, "", given=False)


def describe(named: Named, tree: Tree, texts: tuple[LicenceText, ...], declared: Declared) -> Party:
    """The party behind what was named."""
    licence, source = _licence(named, tree, texts, declared)
    for_code = [t.licence for t in ranked(texts) if t.licence and "code" in t.file.rsplit("/", 1)[-1].casefold()]
    readable = list(tree.texts())
    total = hashlib.sha256(digest(tree, readable).encode())
    for name in sorted(set(tree.sizes) - set(readable)):
        total.update(f"{name}\0{tree.sizes[name]}\n".encode("utf-8", "surrogatepass"))
    return Party(
        id=named.id, path=str(named.path), version=named.version, sha256=total.hexdigest(), files=len(tree.sizes), skipped=tree.skipped,
        licence=licence, licence_source=source, code_licence=for_code[0] if for_code else licence, has=tuple(_has(tree, texts)),
        named=named.given,
    )  # fmt: skip


def _has(tree: Tree, texts: tuple[LicenceText, ...]) -> list[str]:
    names = [n.rsplit("/", 1)[-1] for n in tree.sizes]
    out = []
    if any_weights(tree):
        out.append("weights")
    if any(n.endswith(".py") for n in names):
        out.append("code")
    if any(n in _TOKENIZERS or n.endswith(".tiktoken") for n in (names if tree.root is None else tree.sizes)):
        out.append("tokenizer")
    if texts:
        out.append("licence")
    if any(n.casefold() == "readme.md" for n in tree.sizes):
        out.append("card")
    if any(n.casefold().startswith("notice") for n in names):
        out.append("notice")
    return out


def ranked(texts: tuple[LicenceText, ...]) -> list[LicenceText]:
    """Licence texts, that of the whole first: what is called a model's licence before the rest, what is called the code's last, the root before folders."""

    def rank(t: LicenceText) -> tuple[bool, bool, bool, int, str]:
        last = t.file.rsplit("/", 1)[-1].casefold()
        return "/" in t.file and ".dist-info/" not in t.file, "model" not in last, "code" in last, t.file.count("/"), t.file

    return sorted(texts, key=rank)


def _licence(named: Named, tree: Tree, texts: tuple[LicenceText, ...], declared: Declared) -> tuple[str, str]:
    """(id, how it is known)."""
    known = [t for t in ranked(texts) if t.licence or t.title]
    if known and known[0].licence:
        return known[0].licence, f"{known[0].file} ({known[0].state})"
    if known:  # its own text says that it is under something else than any table knows
        return "", f"{known[0].file} (calls itself “{known[0].title}”)"
    model = TABLE.of_model(named.id, named.version)
    if model is not None:
        return model.licence, f"begat's table, by repository id ({model.source})"
    metadata = next((n for n in tree.sizes if n.endswith(".dist-info/METADATA") or n.rsplit("/", 1)[-1] == "PKG-INFO"), None)
    if metadata is not None and (found := _metadata(tree.text(metadata) or "")):
        return found, metadata
    if declared.licence_id:
        return declared.licence_id, "the model card"
    if declared.expression:
        return declared.expression, "the model card"
    return "", ""


def _metadata(text: str) -> str:
    """The licence that a package's metadata names (License-Expression, else License), "" when it is no expression."""
    head = text.split("\n\n", 1)[0]
    for key in ("License-Expression", "License"):
        found = re.search(rf"^{key}:[ \t]*(.{{1,200}})$", head, re.MULTILINE)
        if found:
            value = found[1].strip()
            ids = ids_of(value) or ids_of(
                {"Apache": "Apache-2.0", "Apache 2.0 License": "Apache-2.0", "Apache 2.0": "Apache-2.0"}.get(value, "")
            )
            if len(ids) == 1:
                return ids[0]
    return ""
