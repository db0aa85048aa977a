"""`begat-lab generate`: text as it comes, from the lab's tokenizer and from another; errors on one line."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from click.testing import CliRunner  # noqa: E402

from begat import InputError  # noqa: E402
from begat_lab.cli.main import cli  # noqa: E402
from begat_lab.models import PanguDense, PanguProMoE, PanguProMoEConfig  # noqa: E402
from begat_lab.models.pangu import initialise  # noqa: E402
from begat_lab.serve import _bytes_as_text, _new_text, open_model, open_tokenizer, stream_text  # noqa: E402
from begat_lab.tokenizer import write_tokenizer  # noqa: E402

spec = importlib.util.spec_from_file_location("pangu_examples", Path(__file__).parent / "pangu_examples.py")
examples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(examples)
CONFIG = PanguProMoEConfig(vocab_size=260, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                           moe_intermediate_size=4, shared_expert_intermediate_size=4, num_experts=8, num_groups=2,
                           num_experts_per_tok=2, eos_token_id=None)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    model = initialise(PanguProMoE(CONFIG), torch.Generator().manual_seed(1))
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path, 260)
    return tmp_path


def test_command_says_what_the_model_generates(folder):
    ran = CliRunner().invoke(cli, ["generate", str(folder), "def é", "-n", "12"])
    assert ran.exit_code == 0, ran.output
    ids = torch.tensor([list("def é".encode())])
    new = PanguProMoE.from_pretrained(folder).generate(ids, max_new_tokens=12)[0, ids.shape[1] :].tolist()
    assert ran.stdout == bytes(one for one in new if one < 256).decode("utf-8", "replace") + "\n"


def test_draws_come_again_with_their_seed(folder):
    say = lambda seed: CliRunner().invoke(cli, ["generate", str(folder), "x", "-t", "1.5", "-p", "0.9", "--seed", seed]).stdout  # noqa: E731
    assert say("1") == say("1") != say("2")


def test_characters_wait_for_their_last_byte():
    assert list(_bytes_as_text("aé→".encode())) == ["a", "", "é", "", "", "→", ""]
    assert "".join(_bytes_as_text([0xE2, 0x61, 300])) == "\ufffda"
    words = {1: b"a", 2: b"\xe2\x86", 3: b"\x92"}
    decode = lambda ids: b"".join(words[one] for one in ids).decode("utf-8", "replace")  # noqa: E731
    assert list(_new_text(decode, [1, 2, 3])) == ["a", "→", ""]


def test_another_tokenizer_is_read(folder):
    tokenizers = pytest.importorskip("tokenizers", reason="oracle only")
    other = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "[u]": 2}, unk_token="[u]"))
    other.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    other.save(str(folder / "tokenizer.json"))
    tokenizer = open_tokenizer(folder)
    assert tokenizer.encode("a b ?") == [0, 1, 2]
    assert "".join(tokenizer.decode([0, 1])) == "a b"


def test_the_class_follows_the_folder(folder, tmp_path):
    assert type(open_model(folder)) is PanguProMoE
    examples.example("dense").save_pretrained(tmp_path / "dense")
    assert type(open_model(tmp_path / "dense")) is PanguDense
    (tmp_path / "dense/config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(InputError, match="not served"):
        open_model(tmp_path / "dense")


def test_prompts_beyond_the_vocabulary_and_missing_tokenizers_are_errors(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "bare")
    (tmp_path / "bare/tokenizer.json").unlink()
    with pytest.raises(InputError, match="no tokenizer"):
        open_tokenizer(tmp_path / "bare")
    with pytest.raises(InputError, match="does not know"):
        list(stream_text(examples.example("dense"), open_tokenizer(folder), "zebra"))
