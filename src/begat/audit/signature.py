"""Does a model-signing signature of the release verify? Reported, never judged: it shows who published these files, not where they came from.

Enters: a release, a public key.  Leaves: a `Signature`. Needs the package `model-signing`; without it, without a signature or without a key the answer is
that it was not run, and why.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from begat.audit.folder import Tree
from begat.audit.types import Signature


def verify(release: Tree, key: Path | None) -> Signature:
    """Verify `model.sig` (or the only `*.sig`) of the release with a public key."""
    found = sorted(n for n in release.sizes if "/" not in n and n.endswith(".sig"))
    if not found:
        return Signature("none", "the release carries no signature file")
    if find_spec("model_signing") is None:
        return Signature(
            "not-run", f"{found[0]} is there, but the package model-signing is not installed (pip install model-signing)"
        )
    if key is None:
        return Signature("not-run", f"{found[0]} is there, but no public key was given (--signature-key FILE)")
    name = "model.sig" if "model.sig" in found else found[0]
    try:
        from model_signing import verifying

        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
        config.verify(release.path, release.path / name)
    except Exception as err:  # the package raises its own and those of three others
        return Signature("failed", f"{name} does not verify with {key.name}: {type(err).__name__}: {str(err)[:200]}")
    return Signature("verified", f"{name} verifies with {key.name}: the files are as the key's holder signed them")
