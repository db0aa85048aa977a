"""Tests that run side by side (`pytest -n 2`) get one thread of BLAS and OpenMP each: more would wait for each other."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before numpy is imported, which reads these once
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
