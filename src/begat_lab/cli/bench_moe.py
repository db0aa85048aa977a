"""`begat-lab bench-moe`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from begat import InputError
from begat_lab.cli.exits import epilog
from begat_lab.moe_bench.plan import DEVICES, DTYPES, PARTS, SIZES, plan_of
from begat_lab.moe_bench.report import Report
from begat_lab.moe_bench.run import run_bench


@click.command("bench-moe", epilog=epilog("bench-moe"))
@click.option("--size", type=click.Choice(SIZES), help="How large (default: small on a CPU, published elsewhere).")
@click.option("--quick", is_flag=True, help="The tiny size: does it run? Its numbers mean nothing.")
@click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True, help="Where to measure.")
@click.option(
    "--dtype", type=click.Choice(tuple(DTYPES)), default="float32", show_default=True, help="Of weights and arithmetic."
)
@click.option("--parts", default=",".join(PARTS), show_default=True, help="What to measure, with commas.")
@click.option("--ranks", help="Numbers of ranks, with commas: divisors of the number of groups.")
@click.option("--repeats", type=click.IntRange(min=1), help="Rounds of alternating runs.")
@click.option("--seeds", type=click.IntRange(min=1), help="Of the quality ablation.")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps of the quality ablation.")
@click.option(
    "-o", "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for bench_moe.json, .md and pictures."
)
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of Markdown.")
def bench_moe(size: str | None, quick: bool, device: str, dtype: str, parts: str, ranks: str | None, repeats: int | None,
              seeds: int | None, steps: int | None, out: Path | None, as_json: bool) -> None:  # fmt: skip
    """Compare MoGE with ordinary top-K routing of equal size: rows per rank, speed, quality.

    An ablation of our own. Speeds are ratios of alternating runs; progress goes to stderr, the tables to stdout.
    """
    if quick and size:
        raise InputError("--quick is a size", fix="give --quick or --size")
    changed: dict[str, Any] = {"repeats": repeats, "seeds": seeds, "steps": steps, "ranks": _numbers(ranks) if ranks else None}
    plan = plan_of("tiny" if quick else size or ("small" if device == "cpu" else "published"), device, dtype, tuple(parts.split(",")),
                   **{key: value for key, value in changed.items() if value is not None})  # fmt: skip
    places = [i for i, word in enumerate(sys.argv) if word in ("-o", "--out")]  # where results go is nobody's business
    command = shlex.join(
        ["begat-lab", *(word for i, word in enumerate(sys.argv) if i and i not in places and i - 1 not in places)]
    )
    report = run_bench(
        plan, command, lambda line: click.echo(line, err=True), (lambda so_far: _write(so_far, out)) if out else None
    )
    click.echo(report.json() if as_json else report.markdown(), nl=False)
    if out:
        from begat_lab.moe_bench.pictures import draw

        draw(report, out)
    failed = [note for note in report.notes if note.startswith("Failed")]
    if failed:
        raise InputError(failed[0].removeprefix("Failed: "), fix="another --size, --dtype or --parts")


def _write(report: Report, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench_moe.json").write_text(report.json(), encoding="utf-8")
    (out / "bench_moe.md").write_text(report.markdown(), encoding="utf-8")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError("--ranks", expected="whole numbers with commas", found=text) from None
