"""Where fingerprints lie: one interface (`base.py`), one file an engine, chosen in `open.py`.

- `records.py`: what is stored and how it is checked: Entry, Probe, Record, Hit
- `base.py`: the interface and the registry of engines
- `open.py`: from a place and a mode to an open store
- `sqlite.py`: engine: one SQLite file in a local folder, exact scan, hash tables past a size (`sqlite_file.py`, `sqlite_probes.py`)
- `lance.py`: engine: LanceDB tables in a local folder or on object storage, IVF index past a size (`lance_tables.py`; extra `index`)
- `buckets.py`: hash tables beside the SQLite file: search without looking at every probe
- `hamming.py`: bit counts and nearest neighbours in blocks of probes
- `exchange.py`: export to a folder of plain files, and import from one
"""

from begat.index.store.base import ENGINES, Store
from begat.index.store.exchange import export_store, import_folder
from begat.index.store.open import DEFAULT_ENGINE, open_store
from begat.index.store.records import Added, Entry, Hit, Probe, Record, make_record

__all__ = [
    "DEFAULT_ENGINE", "ENGINES", "Added", "Entry", "Hit", "Probe", "Record", "Store", "export_store", "import_folder", "make_record", "open_store",
]  # fmt: skip
