"""What a forward pass over probe sentences leaves behind, for methods that look at activations.

Enters: a Llama-shaped folder and token ids.  Leaves: a `Trace`, or as text why the model cannot run.  The model: `begat_lab.models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from begat.types import F64, I64

# N sentences    T positions    P = N*T probe positions    L layers    D residual width    F MLP units


@dataclass(frozen=True, slots=True)
class Trace:
    """Activations of one model.

    Attributes:
        hidden_LND: the residual stream after each layer, at the last position of each sentence.
        gate_LFP, up_LFP: outputs of the gate and up projections of each layer, at every position.
    """

    hidden_LND: list[F64]
    gate_LFP: list[F64]
    up_LFP: list[F64]


def run_trace(folder: Path, probe_NT: I64) -> Trace | str:
    """Run the model in `folder` once over all sentences."""
    try:
        import torch

        from begat_lab.models.dense import DenseConfig
        from begat_lab.models.huggingface import load_folder

        model = load_folder(folder).model
    except ImportError:
        return "needs a forward pass, and torch is not installed"
    except KeyError as error:
        return f"cannot run in the lab's dense model: config.json lacks {error}"
    except (ValueError, OSError, RuntimeError) as error:
        return f"cannot run in the lab's dense model: {error}"
    if not isinstance(model.config, DenseConfig) or not hasattr(model.model.layers[0], "mlp"):
        return "cannot run in the lab's dense model: another architecture"
    if int(probe_NT.max()) >= model.config.vocab_size:
        return f"the probe names token {int(probe_NT.max())}, the model has {model.config.vocab_size}"
    found = Trace([], [], [])

    def keep(into: list[F64], last: bool, _module: Any, _inputs: Any, y_NTO: Any) -> None:
        y = y_NTO[:, -1] if last else y_NTO.flatten(0, 1).T
        into.append(y.double().numpy())

    for layer in model.model.layers:
        layer.register_forward_hook(partial(keep, found.hidden_LND, True))
        layer.mlp.gate_proj.register_forward_hook(partial(keep, found.gate_LFP, False))
        layer.mlp.up_proj.register_forward_hook(partial(keep, found.up_LFP, False))
    with torch.no_grad():
        model(torch.from_numpy(probe_NT))
    if not all(np.isfinite(x).all() for x in (*found.hidden_LND, *found.gate_LFP, *found.up_LFP)):
        return "activations are not finite"
    return found
