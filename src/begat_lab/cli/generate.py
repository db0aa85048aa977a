"""`begat-lab generate CHECKPOINT PROMPT`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch

from begat_lab.cli.exits import epilog
from begat_lab.device import open_device
from begat_lab.serve import open_model, open_tokenizer, stream_text

_DTYPES = ("as stored", "float32", "bfloat16", "float64")


@click.command(epilog=epilog("generate"))
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("prompt")
@click.option("-n", "--tokens", type=click.IntRange(min=1), default=200, show_default=True, help="At most so many new tokens.")
@click.option(
    "-t", "--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="0: always the best token."
)
@click.option("-p", "--top-p", type=click.FloatRange(min=0, min_open=True, max=1), default=1.0, show_default=True,
              help="Draw from the fewest best tokens of this probability.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Of the draws.")
@click.option("--dtype", type=click.Choice(_DTYPES), default=_DTYPES[0], show_default=True, help="Of weights and arithmetic.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or npu (with torch_npu).")
def generate(
    checkpoint: Path, prompt: str, tokens: int, temperature: float, top_p: float, seed: int, dtype: str, device: str
) -> None:
    """Go on with PROMPT, token by token, by the openPangu decoder in the folder CHECKPOINT (the mixture or the dense one).

    The text goes to stdout as it comes, without the prompt.
    """
    open_device(device)
    model = open_model(checkpoint, dtype=None if dtype == _DTYPES[0] else getattr(torch, dtype), device=device)
    chance = torch.Generator(device=device).manual_seed(seed)
    how = {"do_sample": temperature > 0, "temperature": temperature or 1.0, "top_p": top_p, "generator": chance}
    for text in stream_text(model, open_tokenizer(checkpoint), prompt, max_new_tokens=tokens, **how):
        click.echo(text, nl=False)
        sys.stdout.flush()
    click.echo()
