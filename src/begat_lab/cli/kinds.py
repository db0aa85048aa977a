"""`begat-lab kinds`."""

from __future__ import annotations

from dataclasses import fields

import click

from begat_lab.cli.exits import epilog


@click.command(epilog=epilog("kinds"))
def kinds() -> None:
    """List the kinds of descent that a pedigree may name, with what each needs."""
    from begat_lab.descent import KINDS
    from begat_lab.descent.base import EVERY

    for name, kind in KINDS.items():
        least, most = kind.parents
        options = ", ".join(field.name for field in fields(kind.options))
        click.echo(f"{name:20} {kind.title}")
        needs = [f"{least} parents" if least == most else f"{least} to {most} parents", *kind.seeds]
        needs += ["training"] * kind.trains + [f"options {options}"] * bool(options)
        needs += [f"architecture {' or '.join(kind.knows)}"] * (kind.knows != EVERY)
        click.echo(f"{'':20}   {'; '.join(needs)}")
