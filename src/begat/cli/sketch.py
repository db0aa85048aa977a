"""`begat sketch MODEL`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from begat.cli.exits import NOTHING, epilog
from begat.cli.output import OUTPUT, check_outputs, deliver
from begat.cli.progress import StderrProgress
from begat.errors import printable


@click.command(epilog=epilog("sketch"))
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=OUTPUT, help="Where to write; by default NAME.begat here."
)
@click.option("--name", default="", help="What to call the model; by default the last part of its path.")
@click.option("--base", type=click.Path(path_type=Path), help="Base model, where MODEL is a PEFT adapter folder.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def sketch(model: Path, output: Path | None, name: str, base: Path | None, as_json: bool) -> int:
    """Keep a fingerprint of a model.

    Enough of it to test it against others later without the weights: exactly, also behind a rotated or permuted residual stream.
    """
    from begat.fingerprint_file import save
    from begat.pipeline.sketch import sketch as run

    called = printable(name or model.resolve().name, 200)
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in called).lstrip(".") or "model"
    where = output or Path(f"{safe[:120]}.begat")
    check_outputs({"--output": where}, (model, base))
    made = run(model, base=base, name=name, progress=StderrProgress())
    identity = save(made, where)
    about = {
        "file": str(where), "id": identity, "name": made.name, "bytes": where.stat().st_size, "parameters": made.parameters,
        "bytes_read": made.bytes_read, "bytes_total": made.bytes_total, "notes": list(made.notes),
    }  # fmt: skip
    share = 100 * made.bytes_read / max(1, made.bytes_total)
    per = 8 * where.stat().st_size / max(1, made.parameters)
    lines = [f"{where}: {where.stat().st_size:,} bytes, {per:.4f} bits a parameter, from {share:.1f} % of the weights"]
    lines += [f"note: {note}" for note in made.notes]
    return deliver(NOTHING, lambda: click.echo(json.dumps(about, indent=2) if as_json else "\n".join(lines)))
