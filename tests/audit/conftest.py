"""The three precedents, built and audited once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from begat.audit.types import Audit

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks" / "audit")]


@pytest.fixture(scope="session")
def enacted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Audit]]:
    """case → (its folder, its audit)."""
    import precedents

    where = tmp_path_factory.mktemp("precedents")
    return {case: (where, precedents.enact(case, where)) for case in precedents.CASES}
