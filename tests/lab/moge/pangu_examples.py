"""Shapes other than the golden ones, with every weight random: what the tests of models and folders run on."""

import torch

from begat_lab.models import PanguDense, PanguDenseConfig, PanguProMoE, PanguProMoEConfig

SMALL = {"vocab_size": 37, "num_hidden_layers": 2, "max_position_embeddings": 64, "rope_theta": 500.0}
CONFIGS = {
    "12-3-2": PanguProMoEConfig(**SMALL, hidden_size=24, num_attention_heads=6, num_key_value_heads=3, moe_intermediate_size=5,
                                shared_expert_intermediate_size=7, num_experts=12, num_groups=3, num_experts_per_tok=6),
    "no-shared": PanguProMoEConfig(**SMALL, hidden_size=18, num_attention_heads=3, num_key_value_heads=1, moe_intermediate_size=3,
                                   shared_expert_intermediate_size=0, num_experts=10, num_groups=5, num_experts_per_tok=5, rms_norm_eps=1e-3),
    "head-dim-tied": PanguProMoEConfig(**SMALL, hidden_size=15, num_attention_heads=4, num_key_value_heads=4, head_dim=6,
                                       moe_intermediate_size=4, shared_expert_intermediate_size=9, num_experts=64,
                                       num_experts_per_tok=8, tie_word_embeddings=True),
    "one-group": PanguProMoEConfig(**SMALL, hidden_size=20, num_attention_heads=2, num_key_value_heads=1, moe_intermediate_size=6,
                                   shared_expert_intermediate_size=3, num_experts=7, num_groups=1, num_experts_per_tok=3),
    "dense": PanguDenseConfig(**SMALL, hidden_size=30, intermediate_size=41, num_attention_heads=5, num_key_value_heads=1),
    "dense-tied": PanguDenseConfig(**SMALL, hidden_size=12, intermediate_size=19, num_attention_heads=6, num_key_value_heads=2,
                                   tie_word_embeddings=True, rms_norm_eps=1e-2),
}  # fmt: skip


def example(name, dtype=torch.float64, **options):
    """A model whose biases, gains and router scales are random too: ones and zeros hide faults."""
    config, chance = CONFIGS[name], torch.Generator().manual_seed(4)
    model = (PanguProMoE if isinstance(config, PanguProMoEConfig) else PanguDense)(config, **options).to(dtype)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            weight.normal_(0.0, 0.3, generator=chance)
            if "norm" in key or "router_scale" in key:
                weight.add_(1.0)
    return model.eval()


def prompts(lengths=(7, 1, 4), side="left", vocabulary=37):
    """Sequences of unequal lengths, and the batch that pads them: (list of ids, ids_BT, mask_BT)."""
    chance = torch.Generator().manual_seed(9)
    rows = [torch.randint(1, vocabulary, (n,), generator=chance) for n in lengths]
    ids, mask = torch.zeros(len(rows), max(lengths), dtype=torch.long), torch.zeros(len(rows), max(lengths), dtype=torch.long)
    for i, row in enumerate(rows):
        at = slice(max(lengths) - len(row), None) if side == "left" else slice(len(row))
        ids[i, at], mask[i, at] = row, 1
    return rows, ids, mask
