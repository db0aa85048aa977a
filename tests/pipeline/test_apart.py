"""Units of quantised weights whose scales run over several of them: one of each repetition is sampled, and no order of the quantiser's is seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import begat
from begat.canon import resolve
from begat.pipeline.sampling import plan_site, read_views
from begat.signals.axes import Site, View
from begat.source.bitsandbytes import LEVELS
from begat.types import TensorKey

UP = TensorKey("text", 0, "mlp.up.weight")


def nf4(w: np.ndarray, block: int, *, double: bool) -> dict[str, np.ndarray]:
    """A weight as bitsandbytes stores it; with `double` the block maxima are cut to 256 codes, 256 at a time."""
    flat = w.astype(np.float32).ravel()
    padded = np.pad(flat, (0, -len(flat) % block)).reshape(-1, block)
    absmax = np.abs(padded).max(1).astype(np.float32)
    codes = np.abs((padded / absmax[:, None])[..., None] - LEVELS["nf4"]).argmin(-1).astype(np.uint8).ravel()[: len(flat)]
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "float32", "shape": list(w.shape)}
    helpers: dict[str, np.ndarray] = {"absmax": absmax, "quant_map": LEVELS["nf4"]}
    if double:
        table, offset = np.linspace(-1, 1, 256, dtype=np.float32), float(absmax.mean())
        groups = np.pad(absmax - offset, (0, -len(absmax) % 256)).reshape(-1, 256)
        outer = np.abs(groups).max(1).astype(np.float32)
        inner = np.abs((groups / outer[:, None])[..., None] - table).argmin(-1).astype(np.uint8).ravel()[: len(absmax)]
        helpers |= {"absmax": inner, "nested_absmax": outer, "nested_quant_map": table}
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": offset}
    helpers["quant_state.bitsandbytes__nf4"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    codes = np.pad(codes, (0, len(codes) % 2))
    return {"": ((codes[0::2] << 4) | codes[1::2])[:, None]} | {f".{k}": v for k, v in helpers.items()}


def stored(folder: Path, w: np.ndarray, block: int, *, double: bool = False) -> begat.types.Checkpoint:
    folder.mkdir(exist_ok=True)
    name = "model.layers.0.mlp.up_proj.weight"
    save_file({name + k: np.ascontiguousarray(v) for k, v in nf4(w, block, double=double).items()}, folder / "model.safetensors")
    return begat.open_checkpoint(folder)


@pytest.mark.parametrize(
    ("shape", "block", "double", "run", "apart"),
    [
        ((512, 64), 64, False, 1, False),
        ((512, 128), 64, False, 1, False),
        ((512, 64), 128, False, 2, True),
        ((512, 64), 512, False, 8, True),
        ((512, 64), 2048, False, 32, False),
        ((512, 96), 64, False, 2, True),
        ((256, 64), 64, True, 1, False),
        ((512, 64), 64, True, 256, False),
        ((2048, 320), 64, True, 256, None),
        ((4096, 320), 64, True, 256, True),
        ((2048, 1024), 64, True, 16, False),
        ((2048, 2048), 64, True, 8, True),
        ((640, 16384), 64, True, 1, False),
        ((64, 32768), 64, True, 1, False),
    ],
)
def test_units_that_share_scales_are_sampled_together_or_apart(
    tmp_path: Path, shape: tuple[int, int], block: int, double: bool, run: int, apart: bool | None
) -> None:
    """Inside one run of rows that share their scales, or one row of each run, always at the same place; None = not at all."""
    w = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    model = resolve(stored(tmp_path, w, block, double=double))
    plans = plan_site(model, model, Site("text", 0, -1, shape[0], (View(UP, "rows"),)), 64, 4, np.random.default_rng(2))
    assert bool(plans) == (apart is not None)
    every = np.concatenate([np.empty(0, int), *(p.units for p in plans)])
    assert len(set(every)) == len(every)
    for plan in plans:
        assert np.isfinite(read_views(model, plan)[0]).all()
        if apart:
            assert len(set(every % run)) == 1 and len(set(plan.units // run)) == len(plan.units)
        elif run > 1:
            assert len(set(plan.units // run)) == 1


def test_an_order_that_the_quantiser_repeats_gives_no_hits() -> None:
    """Worst case: both quantisers add one vector for each place in a repetition. Units of one place match themselves as often as chance has it."""
    rng, n, run, hits, inside = np.random.default_rng(3), 512, 16, [], []
    marks = rng.normal(size=(run, 32)) * 3
    for _ in range(300):
        a, b = (rng.normal(size=(n, 32)) + marks[np.arange(n) % run] for _ in range(2))
        at = int(rng.integers(run)) + run * rng.permutation(n // run)
        for units, found in ((at, hits), (np.sort(rng.permutation(n)[:32]), inside)):
            x, y = (m[units] / np.linalg.norm(m[units], axis=1, keepdims=True) for m in (a, b))
            found.append(int(((x @ y.T).argmax(1) == np.arange(len(units))).sum()))
    assert abs(np.mean(hits) - 1) < 4 * np.std(hits) / len(hits) ** 0.5 + 0.05, "one hit a test on average"
    assert np.mean(inside) > 4, "samples from all places would have been an accusation"


def test_double_quantised_copies_are_found_and_strangers_are_not(tmp_path: Path) -> None:
    def model(folder: Path, ws: dict[str, np.ndarray], double: bool) -> Path:
        tensors: dict[str, np.ndarray] = {}
        for name, w in ws.items():
            if w.ndim == 2 and "proj" in name:
                tensors |= {name + k: np.ascontiguousarray(v) for k, v in nf4(w, 64, double=double).items()}
            else:
                tensors[name] = w
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text('{"model_type": "llama", "num_attention_heads": 4, "quantization_config": {"quant_method": "bitsandbytes"}}')
        return folder

    def weights(seed: int) -> dict[str, np.ndarray]:
        r = np.random.default_rng(seed)
        out = {"model.embed_tokens.weight": r.normal(size=(64, 256)), "model.norm.weight": r.normal(1, 0.1, size=256)}
        for i in range(2):
            p = f"model.layers.{i}."
            out |= {f"{p}mlp.{k}_proj.weight": r.normal(size=s) for k, s in (("gate", (1024, 256)), ("up", (1024, 256)), ("down", (256, 1024)))}
            out |= {f"{p}self_attn.{k}_proj.weight": r.normal(size=(256, 256)) for k in "qkvo"}
            out |= {f"{p}{k}.weight": r.normal(1, 0.1, size=256) for k in ("input_layernorm", "post_attention_layernorm")}
        return {k: (w * (0.05 if w.ndim == 2 else 1)).astype(np.float32) for k, w in out.items()}

    one, r = weights(1), np.random.default_rng(9)
    tuned = {k: (w + 0.1 * w.std() * r.normal(size=w.shape)).astype(np.float32) for k, w in one.items()}
    a, b = model(tmp_path / "a", one, True), model(tmp_path / "b", tuned, True)
    s = model(tmp_path / "s", weights(2), True)
    found, clear = begat.compare(a, b), begat.compare(a, s)
    assert found.verdict == "derived-or-shared-initialisation"
    assert next(x for x in found.axes if x.axis == "mlp-units").hits >= 30
    assert clear.verdict == "no-evidence"
