"""An index on object storage, against moto's imitation of S3. Skipped where moto is not installed: pip install 'moto[server]'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from begat.errors import InputError
from begat.index.store import export_store, import_folder, open_store
from index.store_builders import brute_force, record

pytest.importorskip("lancedb")
server = pytest.importorskip("moto.server")
PLACE = "s3://models/known"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import boto3

    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://{host}:{port}", "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="models")
    yield
    running.stop()


def test_an_index_on_object_storage(bucket: None, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    records = [record(rng, f"m{i}") for i in range(6)]
    with pytest.raises(InputError, match="no begat index"):
        open_store(PLACE)
    with open_store(PLACE, "create") as store:
        assert store.engine == "lance"
        assert store.add(records).added == tuple(r.entry.id for r in records)
    with pytest.raises(InputError, match="already"):
        open_store(PLACE, "create")
    with open_store(PLACE, "write") as store:
        assert list(store.manifest()) == [r.entry for r in records]
        assert store.get(records[2].entry.id) == records[2].blob
        query = records[3].probes[0].bits
        assert (store.nearest("units", query[None], 1)[0].id, 0) == brute_force(records, "units", query, 1)[0][1:]
        store.remove([records[0].entry.id])
        store.compact()
        assert store.verify() == []
        assert export_store(store, tmp_path / "out") == 5
    with open_store("s3://models/other", "create") as other:
        assert len(import_folder(other, tmp_path / "out").added) == 5
    with pytest.raises(InputError, match="check the address") as err:
        open_store("s3://nobucket/x")
    assert str(err.value).isprintable()
