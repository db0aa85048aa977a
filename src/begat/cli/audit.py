"""`begat audit RELEASE`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.exits import epilog
from begat.cli.output import OUTPUT, check_outputs, deliver, lazily
from begat.cli.progress import StderrProgress

_TEXT, _JSON, _HTML, _SARIF, _CYCLONEDX, _INTOTO = (
    lazily(f"begat.report.audit_{n}")
    for n in ("text:print_audit", "json:dumps", "html:render_audit_html", "sarif:sarif_text", "cyclonedx:cyclonedx_text",
              "intoto:statement_text")
)  # fmt: skip
_FILE = click.Path(dir_okay=False, path_type=Path)


class _Many(click.Command):
    """Lets --references take several values: `--references A B C` is `--references A --references B --references C`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        out: list[str] = []
        inside = False
        for arg in args:
            if arg == "--references":
                inside = True
            elif arg.startswith("-"):
                inside = False
                out.append(arg)
            else:
                out += ["--references", arg] if inside else [arg]
        return super().parse_args(ctx, out)


@click.command(cls=_Many, epilog=epilog("audit"))
@click.argument("release", type=click.Path(path_type=Path))
@click.option("--references", multiple=True, metavar="REF…",
              help="Folders or archives (.whl, .zip, .tar.gz) to compare with, several after one another: PATH, ID=PATH or ID@VERSION=PATH.")  # fmt: skip
@click.option("--index", metavar="INDEX", help="An index of known models (begat index): relatives of the release's weights become references.")
@click.option(
    "--weights/--no-weights",
    default=True,
    show_default=True,
    help="Compare weights where both sides have them (as begat compare does).",
)
@click.option("--require", default="", metavar="QUESTIONS",
              help="What must be answered, of weights, code and tokenizer, with commas. Default: weights, where the release or a reference "
                   "holds any; else anything.")  # fmt: skip
@click.option("--allow-uncompared", is_flag=True, help="Exit 0 instead of 3 when something that had to be compared was not; the report says so all the same.")
@click.option("--nonce", default="", help="Your own word, mixed into the public seed of the weights comparison.")
@click.option("--deep", is_flag=True, help="Ask ScanCode, where it is installed, about licence texts that are not recognised.")
@click.option("--signature-key", type=_FILE, help="Public key to verify a model-signing signature of the release with.")
@click.option("--fail-on", type=click.Choice(["indicated", "established", "never"]), default="indicated", show_default=True,
              help="Weakest level of a finding against the release that makes the exit code 1.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the audit as JSON (schema: begat/report/schema).")
@click.option("--html", type=OUTPUT, help="Also write one self-contained HTML report here.")
@click.option("--sarif", type=OUTPUT, help="Also write the findings as SARIF 2.1.0, for code scanning in CI.")
@click.option("--cyclonedx", type=OUTPUT, help="Also write a CycloneDX 1.6 ML-BOM whose pedigree names established kin.")
@click.option("--intoto", type=OUTPUT, help="Also write an in-toto statement over the evidence (the JSON report).")
def audit(
    release: Path, references: tuple[str, ...], index: str | None, weights: bool, require: str, allow_uncompared: bool, nonce: str, deep: bool,
    signature_key: Path | None, fail_on: str, as_json: bool, html: Path | None, sarif: Path | None, cyclonedx: Path | None, intoto: Path | None,
) -> int:  # fmt: skip
    """Was anything reused in a release, is it attributed, and do the licences allow it?

    RELEASE is a folder: weights, modeling code, tokenizer, LICENSE, model card. Four questions are kept apart: weights reused?
    code or tokenizer reused? notices kept? licences allow it? Findings are evidence for a person, never legal conclusions.
    """
    from begat.audit.run import audit as run

    outputs = {"--html": html, "--sarif": sarif, "--cyclonedx": cyclonedx, "--intoto": intoto}
    check_outputs(outputs, (release, *references, *(r.partition("=")[2] or None for r in references), index, signature_key))
    result = run(
        release, references, weights=weights, require=[q.strip() for q in require.split(",") if q.strip()], nonce=nonce, deep=deep,
        signature_key=signature_key, index=index, progress=StderrProgress(),
    )  # fmt: skip
    return deliver(
        result.exit_code(fail_on, allow_uncompared),
        lambda: click.echo(_JSON(result)) if as_json else _TEXT(result),
        (html, lambda: _HTML(result)),
        (sarif, lambda: _SARIF(result)),
        (cyclonedx, lambda: _CYCLONEDX(result)),
        (intoto, lambda: _INTOTO(result)),
    )
