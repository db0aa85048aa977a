"""`audit --index`: references that nobody named, found by the release's weights among known models."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from begat.audit.run import audit
from begat.audit.types import Audit
from begat.errors import InputError
from begat.index import manage
from builders import llama, noisy, write

RNG = np.random.default_rng(11)
BASE, CONFIG = llama(RNG)
STRANGER, _ = llama(RNG)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = write(tmp_path / "release", noisy(BASE, RNG, 0.1), CONFIG)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    return folder


def known(folder: Path, name: str = "Maker/Base-1") -> Path:
    write(folder / "base", BASE, CONFIG)
    write(folder / "stranger", STRANGER, CONFIG)
    manage.add(str(folder / "index"), [folder / "base"], name=name)
    manage.add(str(folder / "index"), [folder / "stranger"])
    return folder / "index"


def weights_of(result: Audit) -> dict[str, str | None]:
    return {w.reference: w.verdict for w in result.weights}


def test_a_relative_at_hand_is_compared_in_full(release: Path, tmp_path: Path) -> None:
    result = audit(release, index=known(tmp_path))
    assert set(weights_of(result)) == {"Maker/Base-1"}
    assert result.weights[0].log10_e is not None and result.weights[0].log10_e > 100
    assert "by fingerprint" not in result.weights[0].sentence
    assert result.caveats[0].startswith("An index of 2 known models")


def test_a_relative_that_is_gone_speaks_through_its_fingerprint(release: Path, tmp_path: Path) -> None:
    index = known(tmp_path)
    shutil.rmtree(tmp_path / "base")
    result = audit(release, index=index)
    assert weights_of(result) == {"Maker/Base-1": "derived-or-shared-initialisation"}
    assert "by fingerprint" in result.weights[0].sentence and "search paid for" in result.weights[0].sentence
    ancestor = next(a for a in result.ancestors if a.reference == "Maker/Base-1")
    assert ancestor.indicated == ("weights",) and ancestor.established == ()  # a fingerprint alone establishes nothing


def test_a_known_licence_follows_the_name(release: Path, tmp_path: Path) -> None:
    index = known(tmp_path, "Qwen/Qwen2.5-3B")
    shutil.rmtree(tmp_path / "base")
    result = audit(release, index=index)
    party = next(p for p in result.references if p.id == "Qwen/Qwen2.5-3B")
    assert "qwen" in party.licence.casefold() and "table" in party.licence_source


def test_strangers_bring_nothing(tmp_path: Path) -> None:
    other = write(tmp_path / "other", llama(np.random.default_rng(99))[0], CONFIG)
    result = audit(other, index=known(tmp_path))
    assert result.weights == () and result.references == ()


def test_a_reference_given_is_not_added_twice(release: Path, tmp_path: Path) -> None:
    index = known(tmp_path)
    result = audit(release, [f"Maker/Base-1={tmp_path / 'base'}"], index=index)
    assert [w.reference for w in result.weights] == ["Maker/Base-1"]


def test_no_index_there(release: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        audit(release, index=tmp_path / "nothing")
