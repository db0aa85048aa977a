"""Modules written for the tests: one package in two versions, three models that share generic helpers, and the same architecture written by someone else."""

GENERIC = """
def turn_half(x):
    first = x[..., : x.shape[-1] // 2]
    second = x[..., x.shape[-1] // 2 :]
    return torch.cat((-second, first), dim=-1)


def widen_groups(states, repeats):
    batch, groups, length, dim = states.shape
    if repeats == 1:
        return states
    states = states[:, :, None, :, :].expand(batch, groups, repeats, length, dim)
    return states.reshape(batch, groups * repeats, length, dim)


def slopes_by_head(count, start):
    power = 2 ** math.floor(math.log2(count))
    base = start ** (-(2 ** -(math.log2(power) - 3)))
    found = [base ** (i + 1) for i in range(power)]
    if power != count:
        extra = start ** (-(2 ** -(math.log2(2 * power) - 3)))
        found += [extra ** (i + 1) for i in range(0, 2 * (count - power), 2)]
    return torch.tensor(found, dtype=torch.float32)
"""

ROUTED = '''
class {name}Mixer(nn.Module):
    """Routes tokens to experts. Copied from nobody."""

    def __init__(self, config):
        super().__init__()
        self.width = config.hidden_size
        self.experts = config.num_experts
        self.chosen = config.experts_per_token
        self.gate = nn.Linear(self.width, self.experts, bias=False)
        self.up = nn.Parameter(torch.empty(self.experts, self.width, 4 * self.width))
        self.down = nn.Parameter(torch.empty(self.experts, 4 * self.width, self.width))
        self.shared = {name}Dense(config) if config.shared_expert else None

    def route(self, flat, noise: float = 0.0):
        logits = self.gate(flat)
        if self.training and noise > 0:
            logits = logits + noise * torch.randn_like(logits)
        weights = logits.softmax(dim=-1, dtype=torch.float32)
        best, index = weights.topk(self.chosen, dim=-1)
        best = best / best.sum(dim=-1, keepdim=True).clamp_min(1e-9)
        load = torch.zeros(self.experts, device=flat.device)
        load.scatter_add_(0, index.flatten(), torch.ones_like(index.flatten(), dtype=load.dtype))
        balance = self.experts * (load / load.sum() * weights.mean(0)).sum()
        return best.to(flat.dtype), index, balance

    def forward(self, hidden, mask=None):
        batch, length, width = hidden.shape
        flat = hidden.view(-1, width)
        best, index, balance = self.route(flat, noise=0.1)
        out = torch.zeros_like(flat)
        for expert in range(self.experts):
            rows, slot = (index == expert).nonzero(as_tuple=True)
            if rows.numel() == 0:
                continue
            inner = torch.matmul(flat[rows], self.up[expert])
            gate, value = inner.chunk(2, dim=-1)
            inner = F.silu(gate) * value
            part = torch.matmul(inner, self.down[expert][: inner.shape[-1]])
            out.index_add_(0, rows, part * best[rows, slot].unsqueeze(-1))
        if self.shared is not None:
            out = out + self.shared(flat) * torch.sigmoid(flat.mean(-1, keepdim=True))
        if mask is not None:
            out = out.masked_fill(~mask.view(-1, 1), 0.0)
        return out.view(batch, length, width), balance
'''

WINDOWED = """
class {name}Window(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.layer = layer
        self.heads = config.num_heads
        self.groups = config.num_groups
        self.size = config.head_size
        self.window = config.window if layer % 2 else None
        self.query = nn.Linear(config.hidden_size, self.heads * self.size)
        self.pair = nn.Linear(config.hidden_size, 2 * self.groups * self.size, bias=False)
        self.out = nn.Linear(self.heads * self.size, config.hidden_size)
        self.scale = self.size**-0.5

    def forward(self, hidden, cos, sin, past=None):
        batch, length, _ = hidden.shape
        query = self.query(hidden).view(batch, length, self.heads, self.size).transpose(1, 2)
        key, value = self.pair(hidden).view(batch, length, self.groups, 2 * self.size).transpose(1, 2).chunk(2, dim=-1)
        query = query * cos + turn_half(query) * sin
        key = key * cos + turn_half(key) * sin
        if past is not None:
            key, value = past.update(key, value, self.layer)
        key = widen_groups(key, self.heads // self.groups)
        value = widen_groups(value, self.heads // self.groups)
        scores = torch.matmul(query, key.transpose(-1, -2)) * self.scale
        seen = torch.arange(key.shape[-2], device=hidden.device)
        gap = seen[None, :] - seen[-length:, None]
        hidden_from = gap > 0
        if self.window is not None:
            hidden_from = hidden_from | (gap <= -self.window)
        scores = scores.masked_fill(hidden_from, torch.finfo(scores.dtype).min)
        mixed = torch.matmul(scores.softmax(-1, dtype=torch.float32).to(value.dtype), value)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))
"""

CONVOLVED = """
class {name}Scan(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inner = config.expand * config.hidden_size
        self.states = config.state_size
        self.enter = nn.Linear(config.hidden_size, 2 * self.inner, bias=config.use_bias)
        self.conv = nn.Conv1d(self.inner, self.inner, config.kernel, groups=self.inner, padding=config.kernel - 1)
        self.select = nn.Linear(self.inner, config.rank + 2 * self.states, bias=False)
        self.step = nn.Linear(config.rank, self.inner)
        self.decay = nn.Parameter(torch.arange(1, self.states + 1, dtype=torch.float32).log().repeat(self.inner, 1))
        self.leave = nn.Linear(self.inner, config.hidden_size)
        self.rank = config.rank

    def forward(self, hidden, state=None):
        signal, gate = self.enter(hidden).chunk(2, dim=-1)
        signal = self.conv(signal.transpose(1, 2))[..., : hidden.shape[1]].transpose(1, 2)
        signal = F.silu(signal)
        rank, read, write = torch.split(self.select(signal), [self.rank, self.states, self.states], dim=-1)
        step = F.softplus(self.step(rank))
        decay = torch.exp(-step.unsqueeze(-1) * self.decay.exp())
        drive = step.unsqueeze(-1) * write.unsqueeze(-2) * signal.unsqueeze(-1)
        state = torch.zeros_like(drive[:, 0]) if state is None else state
        outputs = []
        for position in range(hidden.shape[1]):
            state = decay[:, position] * state + drive[:, position]
            outputs.append((state * read[:, position].unsqueeze(-2)).sum(-1))
        mixed = torch.stack(outputs, dim=1) * F.silu(gate)
        return self.leave(mixed), state
"""

HEAD = "import math\n\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
INDEPENDENT = '''
"""A mixture, an attention and a scan, written from the papers by someone who never saw the package."""
import torch
from torch import nn


class SparseLayer(nn.Module):
    def __init__(self, dim: int, n: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.router = nn.Parameter(torch.randn(n, dim) / dim**0.5)
        self.mlps = nn.ModuleList([nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)) for _ in range(n)])

    def forward(self, tokens):
        probabilities = torch.softmax(tokens @ self.router.T, -1)
        top = torch.topk(probabilities, self.k, -1)
        result = 0
        for k in range(self.k):
            for e, mlp in enumerate(self.mlps):
                here = top.indices[..., k] == e
                if here.any():
                    patch = torch.zeros_like(tokens)
                    patch[here] = top.values[here][:, k, None] * mlp(tokens[here])
                    result = result + patch
        return result


class LocalAttention(nn.Module):
    def __init__(self, dim, n_heads, reach):
        super().__init__()
        assert dim % n_heads == 0
        self.n_heads, self.reach = n_heads, reach
        self.to_qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, rotary):
        b, t, d = x.size()
        q, k, v = (p.reshape(b, t, self.n_heads, d // self.n_heads).permute(0, 2, 1, 3) for p in self.to_qkv(x).split(d, -1))
        q, k = rotary(q), rotary(k)
        allowed = torch.ones(t, t, dtype=torch.bool, device=x.device).tril().triu(-self.reach + 1)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.proj(y.permute(0, 2, 1, 3).flatten(2))


class StateSpace(nn.Module):
    def __init__(self, dim, n):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(dim, n))
        self.b, self.c, self.dt = nn.Linear(dim, n), nn.Linear(dim, n), nn.Linear(dim, dim)

    def forward(self, x):
        h, ys = x.new_zeros(x.size(0), *self.a.shape), []
        for xt in x.unbind(1):
            dt = nn.functional.softplus(self.dt(xt))[..., None]
            h = h * (-dt * self.a.exp()).exp() + dt * self.b(xt)[:, None] * xt[..., None]
            ys += [torch.einsum("bdn,bn->bd", h, self.c(xt))]
        return torch.stack(ys, 1)
'''


def model(part: str, name: str) -> str:
    """One model's module: the generic helpers and one block of its own."""
    return HEAD + GENERIC + part.replace("{name}", name)


def later(text: str) -> str:
    """The next version of a module: the same units, edited."""
    edits = {
        "noise: float = 0.0": "jitter: float = 0.0",
        "if self.training and noise > 0:": "if self.training and jitter:",
        "logits = logits + noise * torch.randn_like(logits)": "logits = torch.randn_like(logits).mul(jitter).add(logits)",
        "balance = self.experts * (load / load.sum() * weights.mean(0)).sum()": "balance = torch.dot(load / load.sum(), weights.mean(0)).mul(self.experts)",
        "noise=0.1": "jitter=self.config.router_jitter",
        "rows, slot = (index == expert).nonzero(as_tuple=True)": "rows, slot = torch.where(index == expert)",
        "part = torch.matmul(inner, self.down[expert][: inner.shape[-1]])": "part = F.linear(inner, self.down[expert].T[:, : inner.shape[-1]])",
    }
    for old, new in edits.items():
        text = text.replace(old, new)
    return text


def otherwise(text: str) -> str:
    """The routed module as a sibling edits it, in other places than `later`."""
    edits = {
        "load.sum() *": "load.sum().clamp_min(1.0) *",
        "best = best / best.sum": "best = self.gain * best / best.sum",
        "flat = hidden.view(-1, width)": "flat = hidden.flatten(0, 1)",
        "if rows.numel() == 0:": "if not len(rows):",
        "inner = F.silu(gate) * value": "inner = self.act(gate).mul(value)",
    }
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    return text


PACKAGE = {
    "models/ruda/modeling_ruda.py": model(ROUTED, "Ruda"),
    "models/wemba/modeling_wemba.py": model(WINDOWED, "Wemba"),
    "models/scova/modeling_scova.py": model(CONVOLVED, "Scova"),
}
