"""A family small enough to grow in a test, with one of everything the bench tells apart."""

from __future__ import annotations

from begat_lab.pedigree import Family, parse_pedigree

HEAD = """
name = "tiny"
about = "for tests"
text = "library"
dtype = "bfloat16"
threads = 1
[shape]
vocab_size = 256
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 3
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 16
initializer_range = 0.05
max_position_embeddings = 64
tie_word_embeddings = true
[training]
steps = 12
batch = 4
context = 16
warmup = 2
rate = 3e-3
"""
MEMBERS = """
[[member]]
name = "stranger"
kind = "scratch"
count = 4
vary = ["initial_seed"]
initial_seed = 900001
window_seed = 1
[[member]]
name = "other-text"
kind = "scratch"
initial_seed = 900101
window_seed = 1
text = "internet"
[[member]]
name = "twin"
kind = "scratch"
initial_seed = 900001
window_seed = 2
[[member]]
name = "tuned"
kind = "fine-tune"
parents = ["stranger-{i}"]
count = 2
vary = ["window_seed"]
window_seed = 3
training = { steps = 4 }
[[member]]
name = "longer"
kind = "continued"
parents = ["stranger-0"]
window_seed = 5
training = { steps = 6, cosine = false }
[[member]]
name = "longest"
kind = "continued"
parents = ["longer"]
window_seed = 6
training = { steps = 12, cosine = false }
[[member]]
name = "pruned-depth"
kind = "prune-depth"
parents = ["stranger-1"]
options = { layers = [0, 2] }
[[member]]
name = "hidden"
kind = "disguised"
parents = ["tuned-0"]
chance_seed = 7
dtype = "float32"
options = { disguises = ["unit-permutation"] }
[[member]]
name = "student"
kind = "distilled"
parents = ["stranger-2"]
initial_seed = 900201
window_seed = 8
[[member]]
name = "adapter"
kind = "lora"
parents = ["stranger-0"]
window_seed = 9
chance_seed = 9
training = { steps = 2 }
"""


def tiny() -> Family:
    return parse_pedigree(HEAD + MEMBERS, "tiny")
