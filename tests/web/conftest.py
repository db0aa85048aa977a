"""One small index, with hostile names, for all tests of the explorer."""

from __future__ import annotations

import pytest

from web.small_index import Family, family


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return family(tmp_path_factory.mktemp("explorer"), hostile=True)
