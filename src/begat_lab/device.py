"""Devices by name: "cpu", "cuda", "npu" (with torch_npu), with or without a number behind a colon.

Enters: a name from a user.  Leaves: a `torch.device` that this torch can use, or one line that says why not.
"""

from __future__ import annotations

import torch

from begat import InputError

KINDS = ("cpu", "cuda", "npu")


def open_device(name: str) -> torch.device:
    """The device of this name, ready to use.

    Raises:
        begat.InputError: no such kind, or not on this machine.

    """
    kind, colon, number = name.partition(":")
    if kind not in KINDS or (colon and not number.isdecimal()):
        raise InputError("device", expected=" or ".join(KINDS), found=name)
    if kind == "npu":
        try:
            __import__("torch_npu")  # registers the device
        except ModuleNotFoundError:
            raise InputError("no such device here", expected="npu", found="no torch_npu", fix="pip install torch-npu") from None
    if kind != "cpu":
        there = getattr(torch, kind).device_count() if getattr(torch, kind).is_available() else 0
        if int(number or 0) >= there:
            raise InputError(
                "no such device here", expected=name, found=f"torch {torch.__version__} with {there} of that kind", fix="cpu"
            )
    return torch.device(name)
