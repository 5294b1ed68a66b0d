"""What every test runs under: the CPU, no window, one thread to an xdist worker, and nothing left behind by a test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read by the numerical libraries when they are first imported, which no line above does.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Two devices, so that chains in parallel are tested too; the other flags halve the time XLA takes to compile.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
)
# Compiled programs, however small, are shared between the workers of a run, the processes that tests start, and the next run: half of what
# the tests compute is the compiling of thousands of operations.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
XLA_FLAGS = os.environ["XLA_FLAGS"]
if "PYTEST_XDIST_WORKER" in os.environ:
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):  # NPROC: XLA's pool
        os.environ.setdefault(threads, "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=["gpu", "cpu"], default="gpu", help="where test_gpu.py runs; without a GPU it is skipped, or cpu")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Global state of torch, Pyro and JAX is as it was found (it is put back first, so that one test fails and not all after it)."""
    yield
    os.environ["XLA_FLAGS"] = XLA_FLAGS  # the commands change it, and a process that another test starts would compile to other bits
    left: list[str] = []
    if "pyro" in sys.modules:
        import pyro

        if names := sorted(pyro.get_param_store().keys()):
            pyro.clear_param_store()
            left.append(f"parameters in Pyro's store: {', '.join(names)}")
    if "torch" in sys.modules:
        import torch

        if torch.get_default_dtype() is not torch.float32:
            left.append(f"torch's default dtype is {torch.get_default_dtype()}")
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            left.append(f"torch's default device is {torch.get_default_device()}")
            torch.set_default_device(None)
    if "jax" in sys.modules:
        import jax

        if jax.config.jax_enable_x64:
            left.append("jax_enable_x64 is on")
            jax.config.update("jax_enable_x64", False)
    if "matplotlib.pyplot" in sys.modules:
        import matplotlib.pyplot as plt

        plt.close("all")
    assert not left, "; ".join(left)
