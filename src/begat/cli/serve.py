"""`begat serve INDEX`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.exits import NOTHING, epilog
from begat.errors import MissingExtraError


@click.command(epilog=epilog("serve"))
@click.argument("index")
@click.option("--root", "roots", type=click.Path(path_type=Path), multiple=True, metavar="DIR",
              help="Allow models below DIR to be read by path; may be repeated. Without it only files dropped onto the page can be searched for.")  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on. Anyone who reaches it sees the whole index."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8650, show_default=True, help="Port; 0 takes a free one.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="Answer to this host name too; may be repeated.")
def serve(index: str, roots: tuple[Path, ...], host: str, port: int, names: tuple[str, ...]) -> int:
    """Explore an index in a browser: list, search, compare, family tree.

    Listens on this machine only, unless --host says otherwise. Ctrl-C ends it.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtraError("begat serve needs starlette and uvicorn", fix="pip install 'begat[web]'") from None
    from begat.web.server import run

    run(
        index,
        roots=roots,
        host=host,
        port=port,
        names=names,
        ready=lambda url: click.echo(f"{index} is served at {url} (Ctrl-C ends)"),
    )
    return NOTHING
