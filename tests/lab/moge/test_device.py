"""The model on an accelerator: golden numbers, grouped products in bfloat16, ranks of one. Skipped aloud where there is none.

`BEGAT_LAB_DEVICE=cpu` runs the same tests on the CPU, to try them out.
"""

import importlib.util
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

import torch.distributed as dist  # noqa: E402

DEVICE = os.environ.get("BEGAT_LAB_DEVICE") or ("cuda" if torch.cuda.is_available() else "")
if not DEVICE:
    pytest.skip("no accelerator here; BEGAT_LAB_DEVICE names one", allow_module_level=True)
if DEVICE == "npu":
    pytest.importorskip("torch_npu", reason="an npu needs torch_npu")

from safetensors.torch import load_file  # noqa: E402

from begat_lab.models import PanguDense, PanguProMoE  # noqa: E402
from begat_lab.moge import Grouping, MoGE, grouped_matmul_fits, pack_experts  # noqa: E402
from begat_lab.moge.parallel import DISPATCHES, ExpertParallel, start_ranks, sum_gradients  # noqa: E402

DATA = Path(__file__).parent / "data"
MODELS = {"pangu_pro_moe": PanguProMoE, "pangu_dense": PanguDense}
ARRAYS = {name: load_file(DATA / name / "io.safetensors") for name in MODELS}
CASES = [(name, case) for name in MODELS for case in ("nopad", "left", "right") if f"{case}.logits.fp64" in ARRAYS[name]]
GROUPINGS = [(64, 8, 1), (12, 3, 2), (16, 1, 4), (6, 6, 1)]


def beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle, examples = beside("oracle"), beside("pangu_examples")


@pytest.fixture(autouse=True)
def exact_products():
    """float32 products in float32, not in tf32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def error(got, wanted):
    return float((got.detach().cpu().double() - wanted.double()).abs().max() / wanted.double().abs().max())


def relative(got, wanted):
    got, wanted = got.detach(), wanted.detach()
    return float((got.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-300))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("name", "case"), CASES)
def test_golden_logits(name, case, dtype, within, attention):
    model = MODELS[name].from_pretrained(DATA / name, dtype=dtype, device=DEVICE, attention=attention)
    arrays = {key: ARRAYS[name][f"{case}.{key}"] for key in ("input_ids", "attention_mask", "logits.fp64")}
    mask = None if case == "nopad" else arrays["attention_mask"].to(DEVICE)
    with torch.no_grad():
        out = model(arrays["input_ids"].to(DEVICE), attention_mask=mask)
    real = arrays["attention_mask"].bool()
    assert error(out.logits.cpu()[real], arrays["logits.fp64"][real]) <= within


@pytest.mark.parametrize("name", MODELS)
def test_golden_gradients(name):
    arrays = {key.removeprefix("right."): value for key, value in ARRAYS[name].items() if key.startswith("right.")}
    model = MODELS[name].from_pretrained(DATA / name, dtype=torch.float64, device=DEVICE)
    out = model(arrays["input_ids"].to(DEVICE), attention_mask=arrays["attention_mask"].to(DEVICE))
    labels = arrays["labels"][:, 1:].flatten().to(DEVICE)
    torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), labels).backward()
    weights, checked = dict(model.named_parameters()), 0
    for key, wanted in arrays.items():
        weight = key.removeprefix("grad_lm.fp64.")
        if weight != key and weight not in ("lm_head.weight", "model.embed_tokens.weight"):
            assert error(weights[weight].grad, wanted) <= 1e-10, weight
            checked += 1
    assert checked >= 12


@pytest.mark.parametrize("prompt", ["prompt0", "prompt1", "batch"])
@pytest.mark.parametrize("name", MODELS)
def test_golden_generation(name, prompt):
    model = MODELS[name].from_pretrained(DATA / name, dtype=torch.float32, device=DEVICE)
    ids, mask = (ARRAYS[name].get(f"gen.{prompt}.{key}") for key in ("input_ids", "attention_mask"))
    got = model.generate(ids.to(DEVICE), None if mask is None else mask.to(DEVICE), max_new_tokens=16, eos_token_id=None).cpu()
    assert torch.equal(got[:, ids.shape[1] :], ARRAYS[name][f"gen.{prompt}.new_ids"])


@pytest.mark.parametrize("name", MODELS)
def test_bf16_stays_near(name):
    """With grouped products, packed and not, where the device has them."""
    arrays = ARRAYS[name]
    model = MODELS[name].from_pretrained(DATA / name, dtype=torch.bfloat16, device=DEVICE)
    real, wanted = arrays["left.attention_mask"].bool(), arrays["left.logits.fp64"]
    for packed in (False, True):
        if packed and name == "pangu_pro_moe":
            model.pack()
        with torch.no_grad():
            logits = model(arrays["left.input_ids"].to(DEVICE), attention_mask=arrays["left.attention_mask"].to(DEVICE)).logits
        got = logits.cpu()[real].double()
        assert torch.corrcoef(torch.stack([got.flatten(), wanted[real].flatten()]))[0, 1] > 0.99


@pytest.mark.parametrize("name", examples.CONFIGS)
def test_other_shapes_equal_the_independent_pass(name):
    model = examples.example(name)
    rows, ids, mask = examples.prompts()
    wanted = [torch.from_numpy(oracle.logits(model, row)) for row in rows]
    model = model.to(DEVICE)
    with torch.no_grad():
        got = model(ids.to(DEVICE), attention_mask=mask.to(DEVICE)).logits.cpu()
    for logits, real, one in zip(got, mask.bool(), wanted, strict=True):
        torch.testing.assert_close(logits[real], one, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", GROUPINGS)
def test_grouped_products_in_bf16_equal_the_loop_in_float32(shape, packed, idle):
    """Output and every gradient, on fresh random numbers; with `idle`, most experts have no row and a gradient of zeros."""
    if not grouped_matmul_fits(torch.zeros(1, 64, dtype=torch.bfloat16, device=DEVICE), 32):
        pytest.skip(f"no grouped matrix product on this {DEVICE} in torch {torch.__version__}")
    torch.manual_seed(shape[0])
    grouped = MoGE(64, 32, Grouping(*shape), experts="grouped").to(DEVICE, torch.bfloat16)
    loop = MoGE(64, 32, Grouping(*shape), experts="loop").to(DEVICE, torch.float32)
    with torch.no_grad():
        for weight in grouped.parameters():
            weight.normal_(0.0, 0.2)
    loop.load_state_dict(grouped.state_dict())
    if packed:
        pack_experts(grouped.experts)
    x = torch.randn(300, 64, device=DEVICE).to(torch.bfloat16)
    if idle:
        x = x[:1].expand(300, 64).contiguous()
    slope = torch.randn(300, 64, device=DEVICE).to(torch.bfloat16)
    with torch.no_grad():
        routing = loop(x.float())[1]
    results = []
    for layer in (grouped, loop):
        live = x.clone().to(layer.gate.weight.dtype).requires_grad_()
        y = layer.routed(live, routing)
        y.backward(slope.to(y.dtype))
        results.append([y, live.grad, *(weight.grad for weight in layer.experts.parameters())])
    assert len(routing.expert_ids_TK.unique()) == (shape[1] * shape[2] if idle else shape[0])
    for got, wanted in zip(*results, strict=True):
        assert got.isfinite().all()
        assert relative(got, wanted) <= 1.5e-2 if wanted.any() else not got.any()


def test_ranks_of_one_compute_what_the_layer_does():
    """The device's own collective library, as far as one card can say."""
    if dist.is_initialized():
        pytest.skip("a process group is open already")
    for key, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29533", "RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(key, value)
    start_ranks(DEVICE)
    try:
        for dispatch in DISPATCHES:
            torch.manual_seed(5)
            whole = MoGE(24, 12, Grouping(16, 8, 2), shared_units=5).to(DEVICE, torch.float64)
            x = torch.randn(9, 24, dtype=torch.float64, device=DEVICE, requires_grad=True)
            y = whole(x)[0]
            y.square().sum().backward()
            wanted = [y.detach(), x.grad.clone(), *(weight.grad.clone() for _, weight in sorted(whole.named_parameters()))]
            whole.zero_grad(set_to_none=True)
            x.grad = None
            part = ExpertParallel(whole, dispatch=dispatch)
            y = part(x)[0]
            y.square().sum().backward()
            sum_gradients(part)
            got = [y.detach(), x.grad, *(weight.grad for _, weight in sorted(part.named_parameters()))]
            for a, b in zip(got, wanted, strict=True):
                torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)
            assert part.rows == 9 * 16
    finally:
        dist.destroy_process_group()


def test_training_runs_and_resumes(tmp_path):
    from begat_lab.train.config import read_run
    from begat_lab.train.log import read_log
    from begat_lab.train.loop import train_run

    text = """
out = "{out}"
model = "pangu-pro-moe"
device = "{device}"
dtype = "float32"
checkpointing = true
[shape]
vocab_size = 256
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
moe_intermediate_size = 16
shared_expert_intermediate_size = 32
num_experts = 8
num_groups = 4
num_experts_per_tok = 4
initializer_range = 0.1
[training]
steps = 6
batch = 4
context = 24
warmup = 2
[checkpoint]
every = 2
"""
    runs = []
    for name, stops in (("whole", (None,)), ("stopped", (3, None))):
        file = tmp_path / f"{name}.toml"
        file.write_text(text.format(out=(tmp_path / name).as_posix(), device=DEVICE))
        for stop in stops:
            train_run(read_run(file), stop_after=stop)
        runs.append([line.loss for line in read_log(tmp_path / name / "log.jsonl")])
    assert runs[0][-1] < runs[0][0]
    assert runs[1][:2] == pytest.approx(runs[0][:2], rel=1e-5)
    if DEVICE == "cpu":  # elsewhere index_add and the like add in any order
        assert runs[0] == runs[1]
    else:
        assert runs[1] == pytest.approx(runs[0], rel=1e-3)
