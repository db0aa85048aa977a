"""`begat audit RELEASE`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.progress import StderrProgress
from begat.errors import InputError

_EPILOG = """\b
Exit codes:
  0  nothing to act on
  1  findings against the release, established or indicated (see --fail-on)
  2  error: bad input or usage, one line on stderr"""
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


@click.command(cls=_Many, epilog=_EPILOG)
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
@click.option("--nonce", default="", help="Your own word, mixed into the public seed of the weights comparison.")
@click.option("--deep", is_flag=True, help="Ask ScanCode, where it is installed, about licence texts that are not recognised.")
@click.option("--signature-key", type=_FILE, help="Public key to verify a model-signing signature of the release with.")
@click.option("--fail-on", type=click.Choice(["indicated", "established", "never"]), default="indicated", show_default=True,
              help="Weakest level of a finding against the release that makes the exit code 1.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the audit as JSON (schema: begat/report/schema).")
@click.option("--html", type=_FILE, help="Also write one self-contained HTML report here.")
@click.option("--sarif", type=_FILE, help="Also write the findings as SARIF 2.1.0, for code scanning in CI.")
@click.option("--cyclonedx", type=_FILE, help="Also write a CycloneDX 1.6 ML-BOM whose pedigree names established ancestors.")
@click.option("--intoto", type=_FILE, help="Also write an in-toto statement over the evidence (the JSON report).")
def audit(
    release: Path, references: tuple[str, ...], index: str | None, weights: bool, nonce: str, deep: bool, signature_key: Path | None, fail_on: str,
    as_json: bool, html: Path | None, sarif: Path | None, cyclonedx: Path | None, intoto: Path | None,
) -> int:  # fmt: skip
    """Was anything reused in a release, is it attributed, and do the licences allow it?

    RELEASE is a folder: weights, modeling code, tokenizer, LICENSE, model card. Four questions are kept apart: weights reused?
    code or tokenizer reused? notices kept? licences allow it? Findings are evidence for a person, never legal conclusions.
    """
    from begat.audit.run import audit as run
    from begat.report.audit_json import dumps

    result = run(
        release, references, weights=weights, nonce=nonce, deep=deep, signature_key=signature_key, index=index, progress=StderrProgress()
    )
    if html is not None:
        from begat.report.audit_html import render_audit_html

        _write(html, render_audit_html(result))
    if sarif is not None:
        from begat.report.audit_sarif import sarif_text

        _write(sarif, sarif_text(result))
    if cyclonedx is not None:
        from begat.report.audit_cyclonedx import cyclonedx_text

        _write(cyclonedx, cyclonedx_text(result))
    if intoto is not None:
        from begat.report.audit_intoto import statement_text

        _write(intoto, statement_text(result))
    if as_json:
        click.echo(dumps(result))
    else:
        from begat.report.audit_text import print_audit

        print_audit(result)
    return result.exit_code(fail_on)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as err:
        raise InputError(f"report cannot be written: {err.strerror}", file=file) from None
