"""Training text that every machine already has: the Python standard library's own source files (PSF licence), as bytes.

Leaves: two `Corpus` of disjoint topics, each with held-out files, and their unigram entropy, the loss of a model that has learnt
letter frequencies and nothing else.  The text differs between Python versions, so whoever keeps a model writes down its digest.
Who trains on it: `begat_lab.training`.
"""

from __future__ import annotations

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

# Mail, web and sockets: the topic of "internet". All other modules are "library".
_INTERNET = """
    asynchat asyncio asyncore base64 cgi cgitb email ftplib html http imaplib ipaddress json mailbox mailcap mimetypes netrc
    nntplib poplib quopri selectors smtpd smtplib socket socketserver ssl telnetlib urllib uu uuid webbrowser wsgiref xdrlib
    xml xmlrpc
"""
# Does not read like the rest: tests, tables of characters, generated text, bundled programs, other people's packages.
_LEFT_OUT = """
    __phello__ __pycache__ dist-packages distutils encodings ensurepip idle_test idlelib lib-dynload lib2to3 pydoc_data
    site-packages test tests tkinter turtledemo unittest
"""
_HELD_OUT_EVERY = 10  # every tenth file is for validation


@dataclass(frozen=True, slots=True)
class Corpus:
    """One text as token ids 0..255, split by file."""

    name: str
    train: Tensor  # int64 [N]
    validation: Tensor  # int64 [M]
    digest: str  # SHA-256 of train bytes, then validation bytes


def standard_library() -> dict[str, Corpus]:
    """The corpora "library" and "internet": all modules of the running Python, sorted by path."""
    internet, left_out = frozenset(_INTERNET.split()), frozenset(_LEFT_OUT.split())
    root = Path(sysconfig.get_path("stdlib"))
    topics: dict[str, list[bytes]] = {"library": [], "internet": []}
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        parts = path.relative_to(root).with_suffix("").parts
        if left_out.isdisjoint(parts) and not parts[0].startswith(("_sysconfigdata", "config-")):
            topics["internet" if parts[0] in internet else "library"].append(path.read_bytes())
    return {name: corpus_of(name, files) for name, files in topics.items()}


def corpus_of(name: str, files: list[bytes]) -> Corpus:
    """A corpus of these files, every tenth held out."""
    train = b"".join(text for i, text in enumerate(files) if i % _HELD_OUT_EVERY != _HELD_OUT_EVERY - 1)
    validation = b"".join(files[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY])
    return Corpus(name, byte_tokens(train), byte_tokens(validation), hashlib.sha256(train + validation).hexdigest())


def byte_tokens(text: bytes) -> Tensor:
    """`text` as token ids, one a byte."""
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long()


def unigram_entropy(tokens: Tensor) -> float:
    """Nats per token of the best model that knows only how often each token occurs."""
    share = torch.bincount(tokens).double() / len(tokens)
    share = share[share > 0]
    return float(-(share * share.log()).sum())


def within(tokens_N: Tensor, vocab_size: int) -> Tensor:
    """The tokens that a vocabulary of this size has; the others are left out."""
    return tokens_N[tokens_N < vocab_size] if bool((tokens_N >= vocab_size).any()) else tokens_N
