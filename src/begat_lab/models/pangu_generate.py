"""Generation for the openPangu decoders: key-value cache, greedy choice, temperature and top-p, one token at a time.

Enters: prompts, padded on either side, with their mask.  Leaves: the prompts with new ids behind them, or a stream of ids.  The model
that is called here: `pangu.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from begat import InputError

if TYPE_CHECKING:
    from begat_lab.models.pangu import PanguConfig

# Shape suffixes as in pangu.py.

_OF_CONFIG: Any = object()  # "whatever the config says", where None says "none at all"


class KVCache:
    """Keys and values of the positions so far, every layer's in one block of memory that never moves."""

    def __init__(self, config: PanguConfig, batch: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (config.num_hidden_layers, batch, config.num_key_value_heads, capacity, config.head_dim)
        self.key_LBKSC = torch.empty(shape, dtype=dtype, device=device)
        self.value_LBKSC = torch.empty(shape, dtype=dtype, device=device)
        self.length = 0  # columns filled; the model moves it on when all layers have put theirs

    def put(self, layer: int, k_BKTC: Tensor, v_BKTC: Tensor) -> tuple[Tensor, Tensor]:
        """Add T columns of one layer; returns all S columns of it."""
        end, (L, B, K, _, C) = self.length + k_BKTC.shape[2], self.key_LBKSC.shape
        if k_BKTC.shape[:2] != (B, K) or k_BKTC.shape[3] != C or k_BKTC.dtype != self.key_LBKSC.dtype or layer >= L:
            raise InputError("the key-value cache is another model's or batch's", expected=f"{[B, K, C]} {self.key_LBKSC.dtype}",
                             found=f"{[*k_BKTC.shape[:2], k_BKTC.shape[3]]} {k_BKTC.dtype}, layer {layer} of {L}")  # fmt: skip
        if end > self.key_LBKSC.shape[3]:
            raise InputError("the key-value cache is full", expected=f"at most {self.key_LBKSC.shape[3]} positions", found=end)
        self.key_LBKSC[layer, :, :, self.length : end] = k_BKTC
        self.value_LBKSC[layer, :, :, self.length : end] = v_BKTC
        return self.key_LBKSC[layer, :, :, :end], self.value_LBKSC[layer, :, :, :end]


class Generates:
    """What a `PanguLM` can do besides logits."""

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        max_new_tokens: int = 20,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        eos_token_id: int | tuple[int, ...] | None = _OF_CONFIG,
        pad_token_id: int | None = _OF_CONFIG,
        use_cache: bool = True,
    ) -> Tensor:
        """The prompts [B, T] with up to `max_new_tokens` columns behind them.

        A row that is finished goes on with padding; all rows finished end it. `eos_token_id=None` never stops. Greedy unless
        `do_sample`; `generator` is the only source of chance.
        """
        steps = self.stream(input_ids, attention_mask, max_new_tokens=max_new_tokens, do_sample=do_sample, temperature=temperature,
                            top_p=top_p, generator=generator, eos_token_id=eos_token_id, pad_token_id=pad_token_id, use_cache=use_cache)  # fmt: skip
        return torch.cat([input_ids, *(ids_B[:, None] for ids_B in steps)], dim=1)

    def stream(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        max_new_tokens: int = 20,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        eos_token_id: int | tuple[int, ...] | None = _OF_CONFIG,
        pad_token_id: int | None = _OF_CONFIG,
        use_cache: bool = True,
    ) -> Iterator[Tensor]:
        """The new ids_B of `generate`, as they come."""
        model: Any = self
        eos = model.config.eos_token_id if eos_token_id is _OF_CONFIG else eos_token_id
        pad = (model.config.pad_token_id if pad_token_id is _OF_CONFIG else pad_token_id) or 0
        stop = torch.tensor([eos] if isinstance(eos, int) else list(eos or ()), dtype=torch.long, device=input_ids.device)
        mask_BS = _checked_prompt(input_ids, attention_mask, model.config.vocab_size)
        if max_new_tokens < 0:
            raise InputError("max_new_tokens", expected="at least 0", found=max_new_tokens)
        B, T = input_ids.shape
        weight = model.model.embed_tokens.weight
        padded = not bool(mask_BS.all())  # without padding no mask is needed, and attention has faster kernels for none
        cache = KVCache(model.config, B, T + max_new_tokens, weight.dtype, weight.device) if use_cache else None
        whole_BS, ids_BT, done_B = input_ids, input_ids, torch.zeros(B, dtype=torch.bool, device=input_ids.device)
        for _ in range(max_new_tokens):
            with torch.no_grad():
                logits_BV = _at_last_real(model, ids_BT, mask_BS if padded else None, cache)
                new_B = choose(logits_BV, temperature if do_sample else 0.0, top_p, generator)
            new_B = torch.where(done_B, pad, new_B)
            yield new_B
            done_B = done_B | torch.isin(new_B, stop)
            if bool(done_B.all()):
                return
            whole_BS = torch.cat([whole_BS, new_B[:, None]], dim=1)
            mask_BS = torch.cat([mask_BS, torch.ones_like(mask_BS[:, :1])], dim=1)
            ids_BT = new_B[:, None] if use_cache else whole_BS


def _checked_prompt(ids_BT: Tensor, mask_BT: Tensor | None, vocab_size: int) -> Tensor:
    """The mask of a prompt, all real if None; an error for what no model could go on with."""
    if ids_BT.dim() != 2 or ids_BT.dtype not in (torch.int64, torch.int32):
        raise InputError("input_ids", expected="whole numbers [rows, tokens]", found=f"{list(ids_BT.shape)} {ids_BT.dtype}")
    mask_BT = torch.ones_like(ids_BT, dtype=torch.bool) if mask_BT is None else mask_BT.bool()
    if mask_BT.shape != ids_BT.shape:
        raise InputError("attention_mask", expected=list(ids_BT.shape), found=list(mask_BT.shape))
    if not bool(mask_BT.any(1).all()):
        raise InputError("a prompt has no token", expected="at least one real token in every row", fix="begin with the bos token")
    if bool(((ids_BT < 0) | (ids_BT >= vocab_size)).any()):
        raise InputError("input_ids", expected=f"0 to {vocab_size - 1}", found=f"{int(ids_BT.min())} to {int(ids_BT.max())}")
    return mask_BT


def _at_last_real(model: Any, ids_BT: Tensor, mask_BS: Tensor | None, cache: KVCache | None) -> Tensor:
    """Logits behind each row's last real token; it is the last column except in a prompt padded on the right."""
    T = ids_BT.shape[1]
    if mask_BS is None or T == 1:
        return model(ids_BT, mask_BS, cache=cache, last_only=True).logits[:, 0]
    last_B = T - 1 - mask_BS[:, -T:].flip(1).long().argmax(1)
    return model(ids_BT, mask_BS, cache=cache, only_B=last_B).logits[:, 0]


def choose(logits_BV: Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> Tensor:
    """One id a row. Temperature 0 takes the best; else sample from the fewest best ids whose probabilities reach `top_p`."""
    if not temperature >= 0 or not 0 < top_p <= 1:  # nan is an error too
        raise InputError("sampling", expected="temperature >= 0 and 0 < top_p <= 1", found=f"{temperature}, {top_p}")
    if temperature == 0:
        return logits_BV.argmax(-1)
    # The best logit becomes 0 first: a temperature next to 0 then leaves it alone, where inf / inf would be no number.
    cooled_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)) / max(temperature, torch.finfo(torch.float32).tiny)
    probs_BV, id_BV = cooled_BV.softmax(-1).sort(-1, descending=True)
    if top_p < 1:
        before_BV = probs_BV.cumsum(-1) - probs_BV  # probability of all better ids; the best one has none, so it always stays
        probs_BV = probs_BV.masked_fill(before_BV >= top_p, 0.0)
    if generator is not None:
        probs_BV = probs_BV.to(generator.device)  # where chance comes from
    return id_BV.gather(-1, torch.multinomial(probs_BV, 1, generator=generator).to(id_BV.device))[:, 0]
