"""`begat-lab bank FAMILY…`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from begat.cli.output import OUTPUT, check_outputs
from begat.files import write_whole
from begat.stats.views import INVARIANTS, SEARCHED, TOKENS
from begat_lab.bank import bank_text, measure_bank, open_family
from begat_lab.cli.exits import epilog
from begat_lab.fingerprint_bank import content_bank, content_text, measure_null
from begat_lab.pedigree import read_pedigree
from begat_lab.views_bank import measure_views, views_text


@click.command(epilog=epilog("bank"))
@click.argument("families", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=OUTPUT,
    help="File to write (default: the one begat ships, in this checkout).",
)
@click.option("--views", is_flag=True, help="The bank of independent pairs for the agreement of three views, on one family.")
@click.option("--invariants", is_flag=True, help="As --views, the two laid over each other by invariants of units instead of shared tokens.")
@click.option("--searched", is_flag=True, help="As --invariants, of pairs with reshaped members: which layer or expert is whose partner is searched for.")
@click.option("--pairs", type=click.IntRange(min=1), help="With --views, --invariants, --searched: so many pairs, evenly spread (default: all).")
@click.option("--fingerprints", is_flag=True, help="The bank of independent pairs for units chosen by content, on one family.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="With all but the bank of twins: processes.")
@click.option("--pedigree", help="With these: pedigree of a family that is still growing; its finished members are measured.")
def bank(
    families: tuple[Path, ...], out: Path | None, views: bool, invariants: bool, searched: bool, pairs: int | None, fingerprints: bool, jobs: int,
    pedigree: str | None,
) -> None:  # fmt: skip
    """Measure the banks that ship with begat, on grown families.

    The bank of twins: one row for every two plain members that go back to one draw of initial weights, with how much of their training they share.
    """
    data = Path(str(resources.files("begat.stats").joinpath("data")))
    if (asked := views + invariants + searched + fingerprints) and (len(families) != 1 or asked > 1):
        raise click.UsageError("--views, --invariants, --searched and --fingerprints each take one family")
    check_outputs({"--out": out}, families)
    if fingerprints:
        family = read_pedigree(pedigree) if pedigree else open_family(families[0])
        null = measure_null(families[0], _tell, family=family, jobs=jobs)
        write_whole(out or data / "content.json", content_text(content_bank(null, family)))
        mean = sum(10**x for x in null.log10_e) / len(null.log10_e)
        click.echo(
            f"{out or data / 'content.json'}: {len(null.slots)} independent pairs, at most {max(null.slots)} agreeing slots; e-values: mean {mean:.3f}, "
            f"greatest {10 ** max(null.log10_e):.3g}; hits of an order test: mean {sum(null.hits) / len(null.hits):.3f}"
        )
        return
    if asked:
        way = TOKENS if views else INVARIANTS if invariants else SEARCHED
        out = out or data / f"{way}.json"
        shares = measure_views(families[0], _tell, family=read_pedigree(pedigree) if pedigree else None, jobs=jobs, way=way, most=pairs)
        write_whole(out, views_text(shares))
        click.echo(f"{out}: {sum(n for _, n in shares['shares'])} independent pairs, at most {shares['shares'][-1][0]:.2%}")
        return
    found = measure_bank(families, _tell)
    out = out or data / "twins.json"
    write_whole(out, bank_text(found))
    click.echo(f"{out}: " + ", ".join(f"{len(rows)} {relation}" for relation, rows in found["pairs"].items()))


def _tell(done: int, of: int) -> None:
    if done % 50 == 0 or done == of:
        click.echo(f"{done}/{of} pairs", err=True)
