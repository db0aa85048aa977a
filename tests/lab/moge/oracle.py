"""An independent forward pass in numpy, one sequence, one token, one head, one expert at a time: the formulas, and nothing of src."""

import numpy as np


def norm(x, gain, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * gain


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def swiglu(w, at, x):
    gate = w[f"{at}.gate_proj.weight"] @ x
    return w[f"{at}.down_proj.weight"] @ (gate / (1 + np.exp(-gate)) * (w[f"{at}.up_proj.weight"] @ x))


def attention(w, at, x, c):
    T, C, H, K = len(x), c.head_dim, c.num_attention_heads, c.num_key_value_heads
    q, k, v = (x @ w[f"{at}.{n}_proj.weight"].T + w.get(f"{at}.{n}_proj.bias", 0.0) for n in "qkv")

    def turn(row, position):
        out = row.copy()
        for r in range(C // 2):
            a = position * c.rope_theta ** (-2 * r / C)
            out[r] = row[r] * np.cos(a) - row[r + C // 2] * np.sin(a)
            out[r + C // 2] = row[r + C // 2] * np.cos(a) + row[r] * np.sin(a)
        return out

    y = np.zeros((T, H * C))
    for h in range(H):
        of = h * K // H
        keys = np.stack([turn(k[t, of * C : (of + 1) * C], t) for t in range(T)])
        for t in range(T):
            share = softmax(keys[: t + 1] @ turn(q[t, h * C : (h + 1) * C], t) / np.sqrt(C))
            y[t, h * C : (h + 1) * C] = share @ v[: t + 1, of * C : (of + 1) * C]
    return y @ w[f"{at}.o_proj.weight"].T + w.get(f"{at}.o_proj.bias", 0.0)


def mixture(w, at, x, c):
    p = softmax(w[f"{at}.gate.weight"] @ x)
    size, picks = c.num_experts // c.num_groups, c.num_experts_per_tok // c.num_groups
    y = swiglu(w, f"{at}.shared_expert", x) if f"{at}.shared_expert.up_proj.weight" in w else np.zeros_like(x)
    for first in range(0, c.num_experts, size):
        for e in sorted(range(first, first + size), key=lambda e: -p[e])[:picks]:
            y = y + p[e] * w[f"{at}.router_scale"][0, e] * swiglu(w, f"{at}.experts.{e}", x)
    return y


def logits(model, ids):
    """Logits [T, V] of one sequence of token ids."""
    c, w = model.config, {name: weight.double().numpy() for name, weight in model.state_dict().items()}
    x = w["model.embed_tokens.weight"][list(ids)]
    mlp = mixture if hasattr(c, "num_experts") else swiglu
    for i in range(c.num_hidden_layers):
        at = f"model.layers.{i}"
        x = x + attention(w, f"{at}.self_attn", norm(x, w[f"{at}.input_layernorm.weight"], c.rms_norm_eps), c)
        h = norm(x, w[f"{at}.post_attention_layernorm.weight"], c.rms_norm_eps)
        x = x + np.stack([mixture(w, f"{at}.mlp", row, c) if mlp is mixture else swiglu(w, f"{at}.mlp", row) for row in h])
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return norm(x, w["model.norm.weight"], c.rms_norm_eps) @ head.T
