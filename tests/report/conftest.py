"""Every fixture verdict by name, for tests that take `verdict` or `name`."""

from __future__ import annotations

import pytest

from begat.types import Verdict
from report.verdicts import VERDICTS


@pytest.fixture(params=sorted(VERDICTS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def verdict(name: str) -> Verdict:
    return VERDICTS[name]()
