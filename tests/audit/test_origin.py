"""What a card says of where its weights come from: claims are read only where they are sure, names however they are written."""

from __future__ import annotations

import time

import pytest

from begat.audit.origin import names_same, scratch_claim, standing
from begat.audit.prose import sentences

CLAIMS = [
    "# Nova\nTrained from scratch by our team.", "# Nova\nNova was trained from scratch on 2T tokens.", "We pre-trained this model from scratch.",
    "The model is pretrained entirely from scratch on 1T tokens.", "This model was trained from scratch without using any existing weights.",
    "# Nova-7B\n\nNova-7B is a 7B decoder-only language model trained from scratch.", "A 7B language model trained from scratch on web text.",
    "Nova was pre-trained on 3T tokens from random initialisation.", "The weights were randomly initialised.", "# Nova\n**Trained from scratch.**",
    "- Trained from scratch on 512 NPUs", "Our model, trained from scratch, is open.", "# Nova, a model trained from scratch",
    "This is a from-scratch trained model.", "TRAINED FROM SCRATCH", "The weights are trained\nfrom scratch on our cluster.",
    "本模型从零开始训练。", "我们从头训练了该模型。", "Nova是完全从零开始预训练的大模型。", "該模型從頭開始訓練。", "模型从随机初始化开始训练。",
    "本モデルはゼロから学習しました。", "이 모델은 처음부터 학습되었습니다.", "Das Modell wurde von Grund auf trainiert.",
    "Le modèle a été entraîné à partir de zéro.", "El modelo fue entrenado desde cero.", "O modelo foi treinado do zero.",
    "Il modello è stato addestrato da zero.", "Модель обучена с нуля.",
]  # fmt: skip
NO_CLAIMS = [
    "This model was not trained from scratch.", "It wasn't trained from scratch.", "Unlike models trained from scratch, ours is fine-tuned.",
    "Rather than training from scratch, we start from Qwen.", "Cheaper than training from scratch.", "You can train it from scratch with this code.",
    "To train from scratch, run:\n```\ntrained from scratch\n```", "## Training from scratch\nRun train.py.", "The tokenizer was trained from scratch.",
    "The vision encoder is trained from scratch.", "We trained from scratch a new tokenizer.", "OLMo, which was trained from scratch, is a baseline.",
    "OLMo-7B was trained from scratch by AI2.", "We compare with models trained from scratch.", "> Trained from scratch", "```\nTrained from scratch\n```",
    "<!-- trained from scratch -->", "Is it trained from scratch? No.", "If trained from scratch it would cost more.", "Trained from scratch? See below.",
    "Trained from scratch is not what we did.", "Trained from scratch would be too expensive.", "Not trained from scratch",
    "No training from scratch was done.", "Training from scratch was not needed.", "| trained from scratch | no |", "Baseline: trained from scratch.",
    "This model was trained from scratch.\n\nCorrection: it was not trained from scratch.",
    "This was trained from scratch.\n\nIt was initialized from Qwen2.5 weights.", "Implemented from scratch in PyTorch.",
    "Trained from scratch models need more data than ours.", "Both were trained from scratch or fine-tuned.", "---\ntags: trained from scratch\n---\n# X",
    "Our goal is a model that can be trained from scratch.",
    "The model will be trained from scratch next year.", "GPT-2 is a transformer trained from scratch.",
    "It uses embeddings trained from scratch.", "Our LoRA is trained from scratch.", "We fine-tuned Llama; training from scratch is for others.",
    "本模型并非从零开始训练。", "不是从头训练的。", "与从头训练的模型不同，我们微调。", "相比从零开始训练，微调成本更低。", "分词器是从零开始训练的。",
    "如果从头训练，成本很高。", "你可以从零开始训练一个模型。", "从零开始训练成本太高。", "无需从头训练", "本モデルはゼロから学習したものではありません。",
    "ゼロから学習するより安い。", "처음부터 학습하지 않았습니다.", "처음부터 학습하는 대신 미세조정했습니다.",
    "Das Modell wurde nicht von Grund auf trainiert.",
    "Le modèle n'a pas été entraîné à partir de zéro.", "El modelo no fue entrenado desde cero.", "O modelo não foi treinado do zero.",
    "Il modello non è stato addestrato da zero.", "Модель не обучена с нуля.", "The draft head was trained from scratch.", "", "# Nova",
]  # fmt: skip


@pytest.mark.parametrize("card", CLAIMS)
def test_claims_of_training_from_scratch(card: str) -> None:
    assert scratch_claim(card, "me/Nova-7B")


@pytest.mark.parametrize("card", NO_CLAIMS)
def test_what_is_no_such_claim(card: str) -> None:
    assert scratch_claim(card, "me/Nova-7B") == ""


@pytest.mark.parametrize(
    ("how", "name", "text"),
    [
        ("said", "up/Stream", "Fine-tuned from Stream."), ("", "up/Stream", "It can upStream and Streamline."),
        ("said", "Qwen/Qwen2.5-14B", "Built on Qwen2.5 14B weights"),
        ("said", "Qwen/Qwen2.5-14B-Instruct", "fine-tuned from Qwen2.5-14B"), ("compared", "Qwen/Qwen2.5-14B", "| Qwen2.5-14B | 70 |\n"),
        ("compared", "Qwen/Qwen2.5-14B", "It outperforms Qwen2.5-14B."), ("compared", "Qwen/Qwen2.5-14B", "It is not based on Qwen2.5-14B."),
        ("named", "Qwen/Qwen2.5-14B", "Based on the Qwen2.5 architecture."), ("named", "Qwen/Qwen2.5-14B", "We thank the Qwen2.5-14B team."),
        ("said", "Qwen/Qwen2.5-14B", "本模型基于Qwen2.5-14B微调"), ("compared", "Qwen/Qwen2.5-14B", "本模型并非基于Qwen2.5-14B"),
        ("said", "meta-llama/Llama-3.1-8B", "Built with Llama 3.1"), ("", "base", "A base model fine-tuned from scratch"),
        ("said", "Qwen/Qwen2.5-14B", "| base model | Qwen2.5-14B |\n"), ("", "Qwen/Qwen2.5-14B", "see Qwen2.5abc"), ("", "a/Qwen2.5", "fine-tuned from Qwen2"),
        ("named", "Qwen/Qwen2.5-14B", "Trained on synthetic data generated by Qwen2.5-14B."),
        ("said", "Qwen/Qwen2.5-14B", "Qwen2.5-14B, fine-tuned on synthetic data."),
        ("said", "Org/base", "fine-tuned from Org/base"), ("compared", "Org/Alpha", "```\nfine-tuned from Alpha\n```"),
    ],
)  # fmt: skip
def test_how_a_document_names_a_model(how: str, name: str, text: str) -> None:
    assert standing(text, name) == how


def test_names_of_one_model_and_its_tuned_variants() -> None:
    assert names_same("Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-14B-Instruct") and names_same("qwen2.5-14b", "Qwen/Qwen2.5-14B")
    assert not names_same("Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-3B") and not names_same("base", "me/base-7B") and not names_same("Qwen2.5", "Qwen2")


def test_sentences_of_a_card() -> None:
    card = (
        "---\na: 1\n---\n# T: x\nOne two.\nThree? [Four](http://x). \n\n- five\n- six; seven\n\n> quoted\n\n| a | b |\n\n    code\n"
        "<pre>\nz\n</pre>\n第一句。第二句。\n"
    )
    found = [(s.text, s.row, s.heading) for s in sentences(card)]
    assert found == [
        ("T: x", False, True), ("One two.", False, False), ("Three?", False, False), ("Four .", False, False), ("five", False, False),
        ("six", False, False), ("seven", False, False), ("a b", True, False), ("第一句。", False, False), ("第二句。", False, False),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["trained " * 100_000, "trained from " * 60_000, "从" * 300_000, "|" * 300_000, "<!--" * 100_000, "```\n" * 100_000])
def test_a_hostile_card_costs_little(text: str) -> None:
    start = time.process_time()
    assert scratch_claim(text, "x") == "" and standing(text, "Qwen2.5") == ""
    assert time.process_time() - start < 60  # a hang, not a measurement
