"""How long the explorer's list of models takes: `python benchmarks/web/listing.py 10000 100000`.

Makes an index of that many entries without fingerprints worth the name, and asks for three pages: the first reads the manifest, the others find it read.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

from begat.index.store import make_record, open_store
from begat.web.listing import Manifest, list_models, wish_of

BATCH = 5000


def main(sizes: list[int]) -> None:
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            with open_store(f"{place}/known", "create") as store:
                for start in range(0, size, BATCH):
                    store.add(
                        make_record(os.urandom(64), [], name=f"model-{i}", source=f"/models/{i}", format="safetensors", family="llama",
                                    parameters=i * 1000, layers=32, header_digest="0" * 64, fingerprint_version=1)
                        for i in range(start, min(size, start + BATCH))
                    )  # fmt: skip
            manifest = Manifest()
            for asked in ({}, {"q": "model-77"}, {"sort": "-parameters", "page": "3"}):
                begin = time.perf_counter()
                with open_store(f"{place}/known") as store:
                    found = list_models(manifest.entries(store), wish_of(asked)).found
                print(f"{size:,} models, {asked or 'first page'}: {found:,} found in {time.perf_counter() - begin:.2f} s")


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [10_000])
