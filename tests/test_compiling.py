"""Compiled programs are few, and kept for the next process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import scalemix as sm
import scalemix.numpyro
from scalemix.inference import mean_field, vbd
from scalemix.models import linear

PROGRAM = """
import jax, jax.numpy as jnp
from scalemix.numpyro.compiling import cache_compilation
cache_compilation()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print(jax.config.jax_compilation_cache_dir)
jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x).T)(jnp.ones((3, 4)))
"""


def test_programs_are_kept_among_the_users_caches_unless_jax_has_a_place(tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    for own in (None, str(tmp_path / "own")):
        environment = plain | {"XDG_CACHE_HOME": str(tmp_path)} | ({} if own is None else {"JAX_COMPILATION_CACHE_DIR": own})
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        folder = Path(done.stdout.strip())
        assert tmp_path in folder.parents
        assert (folder == Path(own)) if own is not None else ("scalemix" in folder.parts)
        assert any(folder.iterdir()), "a program was kept"


@pytest.mark.parametrize(("fit", "prior"), [(vbd.fit, sm.GaussianUniformMaximized()), (mean_field.fit, sm.Laplace())])
def test_a_fit_is_a_few_programs(fit: Callable[..., Any], prior: Any) -> None:
    """Operation by operation a first fit compiled 130 and more, most of its time."""
    rng, compiled = np.random.default_rng(0), []
    x = rng.normal(size=(23, 7))  # shapes of no other test, whose programs would still be there
    settings = vbd.Settings(num_epochs=2, progress=False) if fit is vbd.fit else mean_field.Settings(num_steps=20, progress=False)

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit(scalemix.numpyro, partial(linear, prior=prior), x, x[:, 0], seed=0, settings=settings)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert 2 <= len(compiled) < 60
