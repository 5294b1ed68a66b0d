"""Compiled programs are kept for the next process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
