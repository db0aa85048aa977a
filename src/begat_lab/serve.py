"""Text in, text out, for the openPangu decoders: which class a folder holds, its tokenizer, and characters as soon as they are whole.

Enters: a folder and a prompt.  Leaves: pieces of text.  Generation itself: `begat_lab.models.pangu_generate`; the command:
`begat-lab generate`.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from begat import InputError
from begat_lab.models.pangu_dense import PanguDense
from begat_lab.models.pangu_folder import CONFIG
from begat_lab.models.pangu_json import read_json
from begat_lab.models.pangu_pro_moe import PanguProMoE
from begat_lab.tokenizer import byte_letters

_CLASSES: dict[str, Any] = {model_type: cls for cls in (PanguProMoE, PanguDense) for model_type in cls.layout.model_types}


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Text to ids, and a stream of ids to a stream of text."""

    encode: Callable[[str], list[int]]
    decode: Callable[[Iterable[int]], Iterator[str]]


def open_model(folder: Path, **options: Any) -> Any:
    """The model of a folder, by its `model_type`; `options` are those of `from_pretrained`."""
    kind = read_json(folder / CONFIG).get("model_type")
    if kind not in _CLASSES:
        raise InputError("a model of this kind is not served", file=folder / CONFIG, expected=" or ".join(_CLASSES), found=kind)
    model = _CLASSES[kind].from_pretrained(folder, **options)
    if model.model.embed_tokens.weight.device.type != "cpu" and isinstance(model, PanguProMoE):
        model.pack()  # grouped products without a copy
    return model


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder: the lab's own (an id is a byte), or any `tokenizer.json` with the tokenizers package."""
    file = folder / "tokenizer.json"
    if not file.exists():
        raise InputError(
            "no tokenizer", file=file, expected="tokenizer.json", fix="put the model's tokenizer.json there, or give ids"
        )
    model = read_json(file).get("model", {})
    letters = {letter: byte for byte, letter in enumerate(byte_letters())}
    if isinstance(model, dict) and model.get("merges") == [] and model.get("vocab", {"?": -1}).items() <= letters.items():
        return Tokenizer(lambda text: list(text.encode()), _bytes_as_text)
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise InputError("a tokenizer that is not the lab's", file=file, fix="pip install tokenizers") from None
    whole: Any = tokenizers.Tokenizer.from_file(str(file))
    return Tokenizer(lambda text: list(whole.encode(text).ids), lambda ids: _new_text(whole.decode, ids))


def _bytes_as_text(ids: Iterable[int]) -> Iterator[str]:
    """Characters as soon as their last byte is there; ids above 255 stand for nothing."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for one in ids:
        yield decoder.decode(bytes([one]) if one < 256 else b"")
    yield decoder.decode(b"", final=True)


def _new_text(decode: Callable[[list[int]], str], ids: Iterable[int]) -> Iterator[str]:
    """What each id adds to the text of all so far; a character in pieces waits until it is whole."""
    seen, said = [], ""
    for one in ids:
        seen.append(one)
        text = decode(seen)
        if not text.endswith("\ufffd") and text.startswith(said):
            yield text[len(said) :]
            said = text
    yield decode(seen)[len(said) :]


def stream_text(model: Any, tokenizer: Tokenizer, prompt: str, **how: Any) -> Iterator[str]:
    """The text that follows `prompt`, as it comes; `how` is for `PanguLM.stream`."""
    ids = tokenizer.encode(prompt)
    bos = model.config.bos_token_id
    ids = ids or ([bos] if bos is not None else [])
    if not ids:
        raise InputError("an empty prompt", fix="give some text")
    top = model.config.vocab_size
    if max(ids) >= top:
        raise InputError("the prompt has tokens that the model does not know", expected=f"ids below {top}", found=max(ids))
    device = model.model.embed_tokens.weight.device
    new = (int(ids_B[0]) for ids_B in model.stream(torch.tensor([ids], device=device), **how))
    return tokenizer.decode(new)
