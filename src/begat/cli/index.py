"""`begat index …`: an index of known models. What the commands do: `begat.index.manage`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from begat.cli.commands import Group
from begat.cli.exits import FOUND, NOTHING, epilog
from begat.cli.output import OUTPUT, check_outputs, deliver
from begat.cli.progress import StderrProgress
from begat.errors import InputError
from begat.files import write_whole

_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_ENGINE = click.option("--engine", type=click.Choice(["sqlite", "lance"]),
                       help="Engine of a new index: sqlite (default), or lance, which also stores to s3://… (extra: index).")  # fmt: skip


@click.group(cls=Group, epilog=epilog("index"))
def index() -> None:
    """Keep fingerprints of known models, to search among them.

    INDEX is a folder, or an address such as s3://bucket/index (engine lance). A MODEL of the index is named by its name, its id or the beginning
    of its id.
    """


@index.command()
@click.argument("index")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL…")
@click.option("--name", default="", help="What to call the model, where one is added; by default the last part of its path.")
@click.option("--note", default="", help="Free text kept with the models.")
@click.option("--base", type=click.Path(path_type=Path), help="Base model, where MODEL is a PEFT adapter folder.")
@_ENGINE
@_JSON
def add(index: str, models: tuple[Path, ...], name: str, note: str, base: Path | None, engine: str | None, as_json: bool) -> int:
    """Add models to INDEX, which is made if there is none.

    MODEL is a weight file or folder, which is sketched, or a fingerprint file of `begat sketch`.
    """
    from begat.index import manage

    done = manage.add(index, models, engine=engine, base=base, name=name, note=note, progress=StderrProgress())
    _say(done, "add", "added", as_json)
    if done.failed:
        raise InputError(
            "could not be read and was not added" if len(done.failed) == 1 else "and others could not be read and were not added",
            file=done.failed[0][0], found=f"{len(done.failed)} of {len(models)} models", fix="the output says what is wrong with each",
        )  # fmt: skip
    return NOTHING


@index.command("list")
@click.argument("index")
@click.option("--name", help="Only models of this name.")
@click.option("--family", help="Only models of this family.")
@click.option("--format", "file_format", help="Only models of this format.")
@click.option("--id", "prefix", help="Only models whose id begins so.")
@_JSON
def list_(index: str, name: str | None, family: str | None, file_format: str | None, prefix: str | None, as_json: bool) -> int:
    """List the models of INDEX."""
    from begat.index import manage

    return _say(manage.list_entries(index, name=name, family=family, format=file_format, id=prefix), "list", "listing", as_json)


@index.command()
@click.argument("index")
@click.argument("model")
@click.option("-o", "--output", type=OUTPUT, help="Also write its fingerprint file here.")
@_JSON
def show(index: str, model: str, output: Path | None, as_json: bool) -> int:
    """Show what INDEX knows of a model."""
    from begat.index import manage

    check_outputs({"--output": output}, (index,))
    if output is not None:
        _, blob = manage.fetch(index, model)
        write_whole(output, blob, "fingerprint")
    return _say(manage.show(index, model), "show", "shown", as_json)


@index.command()
@click.argument("index")
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
@_JSON
def remove(index: str, models: tuple[str, ...], as_json: bool) -> int:
    """Remove models from INDEX: all those named, or, if one is unknown, none."""
    from begat.index import manage

    return _say(manage.remove(index, models), "remove", "removed", as_json)


@index.command(epilog=epilog("index verify"))
@click.argument("index")
@_JSON
def verify(index: str, as_json: bool) -> int:
    """Read all of INDEX and check it: digests, check sums, whose probes are whose."""
    from begat.index import manage

    found = manage.verify(index)
    return _say(found, "verify", "verified", as_json, FOUND if found.faults else NOTHING)


@index.command()
@click.argument("index")
@_JSON
def compact(index: str, as_json: bool) -> int:
    """Merge small pieces of INDEX and make its approximate index anew."""
    from begat.index import manage

    return _say(manage.compact(index), "compact", "compacted", as_json)


@index.command("export")
@click.argument("index")
@click.argument("folder", type=click.Path(path_type=Path))
@_JSON
def export(index: str, folder: Path, as_json: bool) -> int:
    """Write INDEX into a new FOLDER of plain files: fingerprints and manifest.jsonl."""
    from begat.index import manage

    return _say(manage.export_index(index, folder, StderrProgress()), "export", "exported", as_json)


@index.command("import")
@click.argument("index")
@click.argument("folder", type=click.Path(path_type=Path))
@_ENGINE
@_JSON
def import_(index: str, folder: Path, engine: str | None, as_json: bool) -> int:
    """Add the models of an exported FOLDER to INDEX, which is made if there is none."""
    from begat.index import manage

    return _say(manage.import_index(index, folder, engine=engine, progress=StderrProgress()), "import", "imported", as_json)


def _say(result: Any, command: str, how: str, as_json: bool, code: int = NOTHING) -> int:
    """Print a result on stdout; returns `code`."""

    def show() -> None:
        if as_json:
            from begat.report.index_json import dumps

            click.echo(dumps(result, command))
        else:
            from begat.report import index_text

            present: Callable[[Any], Iterator[str]] = getattr(index_text, how)
            for line in present(result):
                click.echo(line)

    return deliver(code, show)
