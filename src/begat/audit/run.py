"""`audit`: a release folder held against references; four questions, kept apart.

Enters: a folder, references.  Leaves: an `Audit`. The order of work: read both sides, weights (`begat.pipeline.compare`), code
(`begat.audit.code`), tokenizers,
notices against the matched upstream versions, licence texts and card, then findings. Reuse is measured first; what licences ask follows from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import begat
from begat.audit.attribution import notices
from begat.audit.card import read_declared
from begat.audit.checkpoints import Unopened, any_weights, held
from begat.audit.code import CodeReference, CodeReport
from begat.audit.extras import require_extra
from begat.audit.findings import Facts, conclude
from begat.audit.findings.base import same_model
from begat.audit.folder import Tree, open_tree
from begat.audit.known import Known, known_relatives
from begat.audit.licences.deep import look_deeper
from begat.audit.licences.identify import identify
from begat.audit.notices import read_header
from begat.audit.party import Named, describe, parse_reference
from begat.audit.signature import verify
from begat.audit.tokenizers.compare import compare_tokenizers
from begat.audit.types import Audit, Declared, LicenceText, Party, TokenizerResult, WeightsResult
from begat.audit.weights import Side, between, compare_weights, level_of, not_run, without_copies
from begat.errors import InputError
from begat.types import Progress

#: what no folder can show, said in every report
NOT_ASKED = (
    "training on outputs (distillation), which several model licences restrict",
    "what the weights were trained on",
    "number of users, place and purpose of use",
    "patents, trademarks, and whether weights or code are protected at all",
    "who copied whom, where nothing but likeness is measured",
)
#: questions that a user may require an answer to
REQUIRABLE = ("weights", "code", "tokenizer")
_TOKENIZER_FILES = (
    "tokenizer.json", "tekken.json", "tiktoken.model", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "tokenizer_config.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "special_tokens_map.json",
)  # fmt: skip
_MAX_TOKENIZER = 128 << 20


@dataclass(frozen=True, slots=True)
class _Side:
    party: Party
    tree: Tree
    weights: Side


def audit(
    release: str | Path, references: Sequence[str | Path] = (), *, weights: bool = True, require: Sequence[str] = (), nonce: str = "", deep: bool = False,
    signature_key: Path | None = None, index: str | os.PathLike[str] | None = None, progress: Progress | None = None,
) -> Audit:  # fmt: skip
    """Audit a release folder against references.

    Args:
        release: the folder, as PATH, ID=PATH or ID@VERSION=PATH; without an ID the folder's name stands for the release's.
        references: folders or archives, each as PATH, ID=PATH or ID@VERSION=PATH; ID is a repository id or package name.
        weights: compare weights where both sides have them.
        require: questions ("weights", "code", "tokenizer") that have to be answered; () = weights, where the release or a reference holds any, else anything.
        nonce: passed to `compare`.
        deep: ask ScanCode, where it is installed, about licence texts that are not recognised.
        signature_key: public key for a model-signing signature, where the release carries one.
        index: an index of known models; relatives of the release's weights in it become references.
        progress: told about long work.

    Returns:
        an `Audit`; what was not compared, and why, stands in `uncompared`, and `exit_code()` is 3 where it had to be.

    Raises:
        InputError: the release is no folder, a reference cannot be read, the optional packages are missing.

    """
    require_extra()
    start = time.perf_counter()
    asked = _required(require, weights)
    named = parse_reference(str(release))
    folder = named.path
    if not folder.is_dir():
        raise InputError("a release is a folder", file=folder, fix="unpack it, or name the folder that holds it")
    tree = open_tree(folder)
    sides = _sides([parse_reference(str(r)) for r in references], folder)
    known = _known(tree, folder, index if weights else None, sides, progress)
    sides += _sides(known.at_hand, folder)
    texts, deeper = look_deeper(tree, licence_texts(tree)) if deep else (licence_texts(tree), "")
    declared = read_declared(tree, named.id if named.given else "")
    own = _Side(describe(named, tree, texts, declared), tree, Side(named.id, named.version, tree, held(tree)))
    measured, copies = _weights(own, sides, weights, nonce, progress)
    measured = (*measured, *known.weights)
    code, code_not_run = _code(folder, own, sides, progress)
    tokenizers = tuple(_tokenizers(own, sides))
    facts = Facts(
        release=own.party, tree=tree, references=(*(s.party for s in sides), *known.parties),
        trees={(s.party.id, s.party.version): s.tree for s in sides}, weights=measured,
        code=code, code_not_run=code_not_run, tokenizers=tokenizers,
        notices=() if code is None else notices(code, tree, {(s.party.id, s.party.version): s.tree for s in sides}),
        texts=texts, headers=tuple(_headers(tree)), declared=declared, require=asked, searched=known.searched,
        unopened=(*(own.weights.held.unopened if own.weights.held.parts else ()), *_unsearched(known)),
        through=tuple(_through(measured, declared, sides, nonce, progress)),
    )  # fmt: skip
    conclusion = conclude(facts)
    return Audit(
        sentence=conclusion.sentence, release=own.party, references=facts.references, answers=conclusion.answers, weights=measured, code=code,
        code_not_run=code_not_run, tokenizers=tokenizers, notices=facts.notices, licence_texts=texts, headers=facts.headers,
        declared=declared, ancestors=conclusion.ancestors, signature=verify(tree, signature_key), findings=conclusion.findings,
        coverage=conclusion.coverage, references_digest=_digest(sides),
        caveats=(*known.said, *copies, *conclusion.caveats, *([deeper] if deeper else [])), not_asked=NOT_ASKED,
        seconds=time.perf_counter() - start, required=asked, uncompared=conclusion.uncompared,
        replay={
            "tool": "begat", "version": begat.__version__, "release": str(release), "references": [str(r) for r in references],
            "weights": weights, "nonce": nonce, "deep": deep, "index": None if index is None else os.fspath(index), "require": list(asked),
        },
    )  # fmt: skip


def _required(require: Sequence[str], weights: bool) -> tuple[str, ...]:
    """The questions that have to be answered, each once; InputError for one that there is none of."""
    asked = tuple(dict.fromkeys(require))
    unknown = [q for q in asked if q not in REQUIRABLE]
    if unknown:
        raise InputError("unknown question", expected=" / ".join(REQUIRABLE), found=unknown[0])
    if "weights" in asked and not weights:
        raise InputError("weights are required and switched off", fix="drop one of --require weights and --no-weights")
    return asked


def _known(tree: Tree, folder: Path, index: str | os.PathLike[str] | None, sides: Sequence[_Side], progress: Progress | None) -> Known:
    if index is None:
        return Known((), (), (), ())
    if not any_weights(tree):
        return Known((), (), (), ("The index was not searched: the release holds no weights.",))
    return known_relatives(folder, index, [s.party.id for s in sides], progress)


def _unsearched(known: Known) -> tuple[Unopened, ...]:
    """An index that could not be searched because the release's weights could not be read."""
    return (Unopened("", "damaged", f"against the index of known models: {known.unread}"),) if known.unread else ()


def _sides(named: Sequence[Named], release: Path) -> list[_Side]:
    out: list[_Side] = []
    for one in named:
        if one.path.resolve() == release.resolve():
            raise InputError("the release is named as its own reference", file=one.path, fix="name another folder")
        tree = open_tree(one.path)
        texts = licence_texts(tree)
        party = describe(one, tree, texts, read_declared(tree, one.id))
        if any((s.party.id, s.party.version) == (party.id, party.version) for s in out):
            raise InputError(
                "two references have one name and version", file=one.path, found=party.id, fix="name them ID@VERSION=PATH"
            )
        out.append(_Side(party, tree, Side(party.id, party.version, tree, held(tree))))
    return out


def _digest(sides: Sequence[_Side]) -> str:
    """sha256 over the references' names, versions and digests."""
    lines = sorted(f"{s.party.id}\0{s.party.version}\0{s.party.sha256}\n" for s in sides)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def licence_texts(tree: Tree) -> tuple[LicenceText, ...]:
    """Licence texts of files whose names say that they hold one."""
    out: list[LicenceText] = []
    for name in tree.texts():
        last = name.rsplit("/", 1)[-1].casefold()
        if (
            last.startswith(("license", "licence", "copying"))
            and not last.endswith((".py", ".json"))
            and (text := tree.text(name))
        ):
            out += identify(name, text)
        if len(out) >= 100:
            break
    return tuple(out)


def _headers(tree: Tree) -> Iterator[tuple[str, str]]:
    """(Python file, licence that its header names)."""
    for name in tree.texts():
        if name.endswith(".py") and (text := tree.text(name)) is not None:
            for licence in read_header(text).licences:
                yield name, licence


def _weights(
    own: _Side, sides: Sequence[_Side], wanted: bool, nonce: str, progress: Progress | None
) -> tuple[tuple[WeightsResult, ...], tuple[str, ...]]:
    """(results, what of the release was left out because it is there twice)."""
    if not wanted:
        return tuple(not_run(s.weights, "switched off", "switched-off") for s in sides), ()
    one, copies = without_copies(own.weights, progress) if any(s.weights.held.parts for s in sides) else (own.weights, ())
    return tuple(w for s in sides for w in compare_weights(one, s.weights, nonce, progress)), copies


def _through(
    measured: Sequence[WeightsResult], declared: Declared, sides: Sequence[_Side], nonce: str, progress: Progress | None
) -> Iterator[tuple[str, str, str]]:
    """Where a declared base and another reference are both established: how those two stand to each other, so that a chain is no contradiction."""
    sure = {w.reference for w in measured if level_of(w) == "established"}
    bases = [s for s in sides if s.party.id in sure and any(same_model(s.party.id, b) for b in declared.base_models)]
    for base in bases[:2]:
        for other in [s for s in sides if s.party.id in sure and s not in bases][:4]:
            yield other.party.id, base.party.id, between(other.weights, base.weights, nonce, progress)


def _code(folder: Path, own: _Side, sides: Sequence[_Side], progress: Progress | None) -> tuple[CodeReport | None, str | None]:
    from begat.audit.code import code_ancestry

    if "code" not in own.party.has:
        return None, "the release holds no Python code"
    references = [
        CodeReference(
            s.party.id, s.party.version, {n: t for n in s.tree.texts() if n.endswith(".py") and (t := s.tree.text(n)) is not None}
        )
        for s in sides
        if "code" in s.party.has
    ]
    if not references:
        return None, "no reference holds Python code"
    return code_ancestry(folder, references, progress=progress), None


def _tokenizers(own: _Side, sides: Sequence[_Side]) -> Iterator[TokenizerResult]:
    if "tokenizer" not in own.party.has:
        return
    for side in sides:
        if "tokenizer" not in side.party.has:
            continue
        with _tokenizer_folder(side.tree) as where:
            result = None if where is None else compare_tokenizers(Path(own.tree.path), where, side.party.id)
        if result is not None:
            yield result


@contextlib.contextmanager
def _tokenizer_folder(tree: Tree) -> Iterator[Path | None]:
    """Where a reference's tokenizer can be read: its folder, or copies of an archive's tokenizer files under names of our own."""
    if tree.root is not None:
        yield Path(tree.path)
        return
    wanted = {
        n.rsplit("/", 1)[-1]: n
        for n in sorted(tree.sizes, reverse=True)
        if n.rsplit("/", 1)[-1] in _TOKENIZER_FILES or n.endswith(".tiktoken")
    }
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="begat-audit-") as folder:
        for last, name in wanted.items():
            with contextlib.suppress(InputError, OSError):
                (Path(folder) / (last if last in _TOKENIZER_FILES else "ranks.tiktoken")).write_bytes(
                    tree.bytes(name, _MAX_TOKENIZER)
                )
        yield Path(folder)
