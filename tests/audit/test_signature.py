"""Optional parts: a signature is reported and never judged, ScanCode is asked only where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from begat.audit.folder import open_tree
from begat.audit.run import audit
from begat.audit.signature import verify


def release(where: Path, *files: str) -> Path:
    where.mkdir()
    for name in files:
        (where / name).write_text("My very own terms.\n")
    return where


def test_no_signature(tmp_path: Path) -> None:
    found = verify(open_tree(release(tmp_path / "r", "LICENSE")), None)
    assert (found.status, found.why) == ("none", "the release carries no signature file")


@pytest.mark.skipif(find_spec("model_signing") is not None, reason="model-signing is installed")
def test_a_signature_without_the_package_says_so_and_changes_nothing(tmp_path: Path) -> None:
    r = release(tmp_path / "r", "LICENSE", "model.sig")
    found = verify(open_tree(r), tmp_path / "key.pem")
    assert found.status == "not-run"
    assert "model-signing is not installed" in found.why
    a = audit(r)
    assert a.signature.status == "not-run"
    assert a.exit_code() == 0


@pytest.mark.skipif(find_spec("model_signing") is None, reason="needs model-signing")
def test_a_signature_with_the_package(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from model_signing import hashing, signing

    r = release(tmp_path / "r", "LICENSE", "model.safetensors")
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    files = hashing.Config().set_ignored_paths(paths=[r / "model.sig"])  # as its command line does
    signing.Config().use_elliptic_key_signer(private_key=private).set_hashing_config(files).sign(r, r / "model.sig")
    assert verify(open_tree(r), None).status == "not-run"
    assert verify(open_tree(r), public).status == "verified"
    (r / "LICENSE").write_text("Other terms.\n")
    assert verify(open_tree(r), public).status == "failed"


@pytest.mark.skipif(find_spec("scancode") is not None, reason="ScanCode is installed")
def test_scancode_is_never_required(tmp_path: Path) -> None:
    a = audit(release(tmp_path / "r", "LICENSE"), deep=True)
    assert a.licence_texts[0].state == "unknown"
    assert a.caveats[-1] == "ScanCode was not asked: the package scancode-toolkit is not installed."
    assert not any("ScanCode" in c for c in audit(tmp_path / "r").caveats)


@pytest.mark.skipif(find_spec("scancode") is None, reason="needs scancode-toolkit")
def test_scancode_names_what_the_table_does_not(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "LICENSE").write_text("These files are licensed under the Mozilla Public License 2.0 (MPL-2.0).\n")
    (text,) = audit(tmp_path / "r", deep=True).licence_texts
    assert (text.state, text.licence) == ("scancode", "MPL-2.0")
