"""The tables of the engine `lance`: their columns, loading LanceDB, the lock of writers, and the library's errors as one line.

Enters: names, ids, what the library raises.  Leaves: schemas, pieces of its query language, InputErrors.  What is done with them: `lance.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from begat.errors import InputError, MissingExtraError
from begat.index.store.base import VERSION
from begat.index.store.records import FIELDS, WIDTH, check_id
from begat.types import U8

MODELS, BLOBS, PROBES = "models", "blobs", "probes-"
#: where the schema of `models` notes the layout's version
META = b"begat_index_version"
_WHOLE = ("parameters", "layers", "fingerprint_version", "size", "probes")
_THOUSAND = 1000
_DAMAGE = "begat index verify lists what is damaged; restore a copy, or import an export"


def wait_for(file: IO[bytes], patience: float, where: str) -> None:
    """Take the lock, which the system drops when the process ends, however it ends."""
    try:
        fcntl = import_module("fcntl")
    except ImportError:  # Windows: one writer at a time is then up to the user
        return
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise InputError("another process is writing to this index", file=where, fix="try again when it is done") from None
            time.sleep(0.02)
        else:
            return


def read_intent(file: Path) -> list[str]:
    """The ids that a killed call was about to add or remove."""
    try:
        ids = json.loads(file.read_text("ascii"))
    except ValueError:
        ids = None
    if not isinstance(ids, list):
        raise damaged(str(file), "is not a list of ids")
    return [check_id(i, str(file)) for i in ids]


def no_links(folder: Path) -> None:
    """InputError if the tables are links, or none."""
    models = folder / f"{MODELS}.lance"
    if models.is_symlink() or not models.is_dir():
        raise InputError("is not a folder of an index", file=models, fix="name the folder that begat index made")
    for link in folder.iterdir():
        if link.is_symlink():
            raise InputError("is a link", file=link, fix="do not trust this index")


def load_lancedb() -> Any:
    """The package, silent; MissingExtraError without it."""
    os.environ.setdefault("LANCE_LOG", "off")  # its log goes to stderr, where the one line of an error belongs
    try:
        return import_module("lancedb")
    except ImportError:
        raise MissingExtraError(
            "index engine lance needs the packages lancedb and pyarrow", fix="pip install 'begat[index]'"
        ) from None


def schema_of(name: str) -> Any:
    """The columns of a table."""
    import pyarrow as pa

    if name == MODELS:
        fields = [pa.field(f, pa.int64() if f in _WHOLE else pa.string()) for f in FIELDS]
        return pa.schema([pa.field("seq", pa.int64()), pa.field("key", pa.int64()), *fields], metadata={META: str(VERSION).encode()})
    if name == BLOBS:
        return pa.schema([pa.field("id", pa.string()), pa.field("blob", pa.large_binary())])
    return pa.schema([
        pa.field("model", pa.int64()), pa.field("layer", pa.int16()), pa.field("part", pa.string()), pa.field("bits", pa.list_(pa.uint8(), WIDTH)),
    ])  # fmt: skip


def bits_of(batch: Any) -> U8:
    """The column of vectors as uint8 [N, 32]."""
    flat: U8 = batch.column("bits").flatten().to_numpy(zero_copy_only=False)
    if flat.size != WIDTH * batch.num_rows:
        raise ValueError("a vector is missing")
    return flat.reshape(-1, WIDTH)


def key_of(id: str) -> int:
    """The first 16 digits of an id as the signed number that probes carry."""
    return int.from_bytes(bytes.fromhex(id[:16]), "big", signed=True)


def quoted(values: Sequence[str]) -> str:
    """Text as SQL: only the quote has a meaning inside quotes."""
    return ", ".join("'" + v.replace("'", "''") + "'" for v in values)


def in_thousands(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Values, some at a time, for `IN (…)`."""
    for at in range(0, len(values), _THOUSAND):
        yield values[at : at + _THOUSAND]


def damaged(where: str, what: str) -> InputError:
    """The error for damage."""
    return InputError(what, file=where, fix=_DAMAGE)


@contextlib.contextmanager
def errors(where: str) -> Iterator[None]:
    """The engine's errors as one line, its panics included."""
    try:
        yield
    except (InputError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except (ValueError, RuntimeError, OSError, KeyError, TypeError, NotImplementedError) as err:
        what = f"cannot be used: {' '.join(str(err).split())[:160]}"
        if "://" in where:
            raise InputError(what, file=where, fix="check the address, the credentials and the connection") from None
        raise damaged(where, what) from None
    except BaseException as err:
        if type(err).__name__ not in ("PanicException", "RustPanic"):
            raise
        raise damaged(where, f"is damaged: {' '.join(str(err).split())[:160]}") from None
