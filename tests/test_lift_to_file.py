"""From a network that somebody trained elsewhere to a smaller one in a file: lifted, fitted, shrunk, written, and read again.

The networks are of ``plain_torch.py`` and ``plain_equinox.py``, which know nothing of scalemix. The data have columns that are noise.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import plain_equinox
import plain_torch
import pytest
import torch

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models
from scalemix.compress import load
from scalemix.inference import vbd
from scalemix.pyro.exporting import export

RNG = np.random.default_rng(11)
X = RNG.normal(size=(200, 6))
Y = np.tanh(2.0 * X[:, 0]) - X[:, 1] + 0.1 * RNG.normal(size=200)
PRIORS = {"*.weight": sm.GaussianUniformMaximized(), "*.bias": sm.Normal(5.0)}
BRIEF = vbd.Settings(num_epochs=2000, learning_rate=0.01, schedule="cosine", num_draws=10, progress=False)


@pytest.mark.slow
def test_torch(tmp_path: Path) -> None:
    """The columns of noise go, the error stays; file (in torch and in JAX) and program have the outputs of the shrunk network."""
    x, y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(Y, dtype=torch.float32)
    module = plain_torch.trained(plain_torch.Mlp(columns=6, width=12), x, y)
    net = in_pyro.lift(module, PRIORS)
    posterior = vbd.fit(in_pyro, partial(models.lifted, net=net), X, Y, seed=0, settings=BRIEF)
    shrunk = in_pyro.shrink(posterior, "log_alpha")
    assert shrunk.report.before.units == (6, 12, 1)
    assert set(shrunk.inputs) >= {0, 1} and len(shrunk.inputs) < 6
    assert sum(shrunk.report.after.weights) < 0.5 * sum(shrunk.report.before.weights)
    masked = {name: torch.as_tensor(value).float() for name, value in shrunk.pruning.means.items()}
    wanted = torch.func.functional_call(module, masked, x)  # the network itself, with zeros in place of what was dropped
    torch.testing.assert_close(shrunk(x), wanted, rtol=1e-5, atol=1e-5)
    assert float(((wanted[:, 0] - y) ** 2).mean().sqrt()) < 0.2  # of which 0.1 is the data's own
    path = shrunk.save(tmp_path / "small.safetensors")
    torch.testing.assert_close(load(path, in_pyro)(x), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(load(path, in_numpyro)(X.astype(np.float32)), wanted.detach().numpy(), rtol=1e-5, atol=1e-5)
    program = torch.export.load(export(shrunk, tmp_path / "small.pt2", x)).module()
    torch.testing.assert_close(program(x[:7]), wanted[:7], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_images_of_torch(tmp_path: Path) -> None:
    """Images with the channels first go through the file and the program as they are."""
    images = RNG.normal(size=(60, 1, 8, 8))
    kinds = np.digitize(images[:, 0, :4].mean(axis=(1, 2)), [-0.08, 0.08])
    x, y = torch.as_tensor(images, dtype=torch.float32), torch.as_tensor(kinds)
    module = plain_torch.trained(plain_torch.Images(), x, y)
    net = in_pyro.lift(module, PRIORS)
    brief = vbd.Settings(num_epochs=300, learning_rate=0.01, num_draws=4, progress=False)
    posterior = vbd.fit(in_pyro, partial(models.lifted, net=net, likelihood="categorical"), images, kinds, seed=0, settings=brief)
    shrunk = in_pyro.shrink(posterior, "log_alpha", fraction=0.3)
    masked = {name: torch.as_tensor(value).float() for name, value in shrunk.pruning.means.items()}
    wanted = torch.func.functional_call(module, masked, x)
    path = shrunk.save(tmp_path / "small.safetensors")
    torch.testing.assert_close(load(path, in_pyro)(x), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(load(path, in_numpyro)(images.astype(np.float32)), wanted.detach().numpy(), rtol=1e-5, atol=1e-5)
    program = torch.export.load(export(shrunk, tmp_path / "small.pt2", x)).module()
    torch.testing.assert_close(program(x[:5]), wanted[:5], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_equinox(tmp_path: Path) -> None:
    """As for torch."""
    x, y = jnp.asarray(X, dtype=jnp.float32), jnp.asarray(Y, dtype=jnp.float32)
    net = plain_equinox.trained(plain_equinox.perceptron(6, 12), x, y)
    lifted = in_numpyro.lift(net, PRIORS)
    posterior = vbd.fit(in_numpyro, partial(models.lifted, net=lifted), X, Y, seed=0, settings=BRIEF)
    shrunk = in_numpyro.shrink(posterior, "log_alpha")
    assert set(shrunk.inputs) >= {0, 1} and len(shrunk.inputs) < 6
    means = shrunk.pruning.means
    hidden = np.tanh(X @ means["layers.0.weight"].T + means["layers.0.bias"])  # Equinox keeps (out, in)
    wanted = hidden @ means["layers.1.weight"].T + means["layers.1.bias"]
    np.testing.assert_allclose(shrunk(x), wanted, rtol=1e-5, atol=1e-5)
    assert np.sqrt(np.mean((wanted[:, 0] - Y) ** 2)) < 0.2
    path = shrunk.save(tmp_path / "small.safetensors")
    np.testing.assert_allclose(load(path, in_numpyro)(x), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(load(path, in_pyro)(torch.as_tensor(X).float()).detach(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_images_of_equinox(tmp_path: Path) -> None:
    """Images with the channels first, one by one in Equinox and in batches after shrinking."""
    images = RNG.normal(size=(80, 1, 6, 6))
    y = images[:, 0, :3].mean(axis=(1, 2))
    x = jnp.asarray(images, dtype=jnp.float32)
    net = plain_equinox.trained(plain_equinox.images(), x, jnp.asarray(y, dtype=jnp.float32))
    lifted = in_numpyro.lift(net, PRIORS)
    brief = vbd.Settings(num_epochs=300, learning_rate=0.01, num_draws=4, progress=False)
    posterior = vbd.fit(in_numpyro, partial(models.lifted, net=lifted), images, y, seed=0, settings=brief)
    shrunk = in_numpyro.shrink(posterior, "log_alpha", fraction=0.4)
    means = shrunk.pruning.means
    leaves = jax.tree_util.tree_flatten_with_path(net)
    named = {".".join(str(key).strip(".[]") for key in path): value for path, value in leaves[0] if hasattr(value, "shape")}
    assert named.keys() >= means.keys() - {"sigma"}
    values = [jnp.asarray(means[name].reshape(named[name].shape), jnp.float32) if name in named else None for name in named]
    flat = iter(values)
    masked = jax.tree_util.tree_map(lambda leaf: next(flat) if hasattr(leaf, "shape") else leaf, net)
    wanted = np.asarray(jax.vmap(masked)(x))  # type: ignore[arg-type]
    np.testing.assert_allclose(shrunk(x), wanted, rtol=1e-5, atol=1e-5)
    path = shrunk.save(tmp_path / "small.safetensors")
    np.testing.assert_allclose(load(path, in_numpyro)(x), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(load(path, in_pyro)(torch.as_tensor(images).float()).detach(), wanted, rtol=1e-5, atol=1e-5)
