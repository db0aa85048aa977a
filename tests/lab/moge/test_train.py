"""The training entry: ranks change nothing but rounding, a run that was stopped goes on bit for bit, the folder is one that begat reads."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("this torch has no gloo", allow_module_level=True)

from begat import InputError  # noqa: E402
from begat_lab.models import PanguProMoE  # noqa: E402
from begat_lab.train.config import read_run  # noqa: E402
from begat_lab.train.log import read_log  # noqa: E402

CONFIG = """
out = "{out}"
model = "{model}"
dtype = "float64"
{head}
[shape]
vocab_size = 256
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
rope_theta = 10000.0
initializer_range = 0.1
{sizes}
[training]
steps = 7
batch = 4
context = 24
warmup = 2
{more}
[checkpoint]
every = 2
"""
MOE = """moe_intermediate_size = 12
shared_expert_intermediate_size = 24
num_experts = 8
num_groups = 4
num_experts_per_tok = 4"""


def train(folder, name, *args, ranks=1, model="pangu-pro-moe", sizes=MOE, more="", head=""):
    """A run in processes of its own; the folder that it leaves."""
    config = folder / f"{name}.toml"
    config.write_text(CONFIG.format(out=(folder / name).as_posix(), model=model, sizes=sizes, more=more, head=head))
    env = {**os.environ, "PYTHONPATH": str(Path(sys.modules["begat_lab"].__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *start, "-m", "begat_lab.train", str(config), *args]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder / name


def digest(run):
    return hashlib.sha256((run / "model/model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"), "run")


def test_a_stopped_run_goes_on_bit_for_bit(alone, tmp_path):
    run = train(tmp_path, "run", "--stop-after", "5")
    assert not (run / "model").exists()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-000002", "step-000004"]
    train(tmp_path, "run")
    assert digest(run) == digest(alone)
    assert [line.step for line in read_log(run / "log.jsonl")] == list(range(1, 8))
    assert [line.loss for line in read_log(run / "log.jsonl")] == [line.loss for line in read_log(alone / "log.jsonl")]


@pytest.mark.parametrize("more", ["", '[parallel]\ndispatch = "all-to-all"'])
def test_two_ranks_train_what_one_does_and_resume_bit_for_bit(alone, tmp_path, more):
    run = train(tmp_path, "run", ranks=2, more=more)
    ours, theirs = (read_log(folder / "log.jsonl") for folder in (run, alone))
    for a, b in zip(ours, theirs, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-10)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-9)
        assert a.balance_loss == pytest.approx(b.balance_loss, rel=1e-10)
        assert (a.imbalance_of_groups, a.max_over_mean_rows) == (0, 1)
        assert a.imbalance_of_experts == b.imbalance_of_experts
    weights = PanguProMoE.from_pretrained(alone / "model").state_dict()
    for name, weight in PanguProMoE.from_pretrained(run / "model").state_dict().items():
        torch.testing.assert_close(weight, weights[name], atol=1e-9, rtol=1e-7)
    if not more:
        train(tmp_path, "again", "--stop-after", "3", ranks=2)
        train(tmp_path, "again", ranks=2)
        assert digest(tmp_path / "again") == digest(run)


def test_recomputed_activations_change_no_bit(alone, tmp_path):
    assert digest(train(tmp_path, "run", head="checkpointing = true")) == digest(alone)


def test_the_loss_falls_and_the_folder_is_whole(alone):
    lines = read_log(alone / "log.jsonl")
    assert lines[-1].loss < lines[0].loss - 0.3
    svg = (alone / "training.svg").read_text()
    assert svg.count("<polyline") == 4
    model = PanguProMoE.from_pretrained(alone / "model")
    assert json.loads((alone / "model/config.json").read_text())["num_groups"] == 4
    assert model.generate(torch.tensor([[100, 101]]), max_new_tokens=3, eos_token_id=None).shape == (1, 5)


def test_a_dense_model_trains_too(tmp_path):
    run = train(tmp_path, "run", ranks=2, model="pangu-dense", sizes="intermediate_size = 40")
    assert read_log(run / "log.jsonl")[-1].balance_loss is None
    assert (run / "training.svg").read_text().count("<polyline") == 1


@pytest.mark.parametrize(("change", "match"), [
    (("steps", "stops"), "unknown key"),
    (("num_experts = 8\n", ""), "lacks num_experts"),
    (("float64", "float8"), "dtype"),
    (("pangu-pro-moe", "gpt"), "model"),
    (("[training]", "[parallel]\ndispatch = \"fax\"\n[training]"), "dispatch"),
    (("[shape]", "[form]"), "unknown key"),
    (("dtype =", "checkpointing = 1\ndtype ="), "wrong type"),
])  # fmt: skip
def test_wrong_configurations_are_errors(tmp_path, change, match):
    text = CONFIG.format(out="x", model="pangu-pro-moe", sizes=MOE, more="", head="")
    (tmp_path / "run.toml").write_text(text.replace(*change))
    with pytest.raises(InputError, match=match) as caught:
        read_run(tmp_path / "run.toml")
    assert caught.value.file
