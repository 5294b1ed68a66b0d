"""Models that somebody wrote in plain Pyro: of scalemix they know priors, ``weight`` and ``distribution``. Twins: ``uses_in_numpyro``."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroSample
from torch import Tensor

from scalemix import noise
from scalemix.priors import Horseshoe, Laplace, Normal, ScaleMixture, SpikeAndSlab, StudentT
from scalemix.pyro import distribution, weight


def hierarchical(x: Tensor, group: Tensor, y: Tensor | None = None) -> Tensor:
    """Slopes of a regression, shrunk to a mean over the groups, which is shrunk to zero."""
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    spread = pyro.sample("spread", dist.HalfNormal(0.5))
    mean = weight("mean", x.shape[1], Horseshoe(0.5, slab_scale=2.0))
    with pyro.plate("groups", 3):
        shift = weight("shift", x.shape[1], StudentT(4.0), scale=spread)
    with pyro.plate("rows", len(x)):
        return pyro.sample("y", dist.Normal((x * (mean + shift)[group]).sum(-1), sigma), obs=y)


def logistic(x: Tensor, group: Tensor, y: Tensor | None = None) -> Tensor:
    """An intercept per group, each like the others or not; the slopes as an ordinary sample statement."""
    slope = pyro.sample("slope", distribution(Laplace(0.5), x.shape[1]))
    with pyro.plate("groups", 3):
        intercept = weight("intercept", (), SpikeAndSlab(0.3, 2.0, 0.1))
    with pyro.plate("rows", len(x)):
        return pyro.sample("y", dist.Bernoulli(logits=x @ slope + intercept[group]), obs=y)


def network(x: Tensor, group: Tensor, y: Tensor | None = None) -> Tensor:
    """One hidden layer; units are independent, so they stand in a plate, and "layer" is then one noise for each unit."""
    with pyro.plate("units", 4):
        w1 = weight("w1", x.shape[1], ScaleMixture(noise.Rayleigh().per("layer"), base_scale=0.7))
        b1 = weight("b1", (), Normal(1.0))
        w2 = weight("w2", (), ScaleMixture(noise.HalfCauchy(0.5)), parametrization="hierarchical")
    with pyro.plate("rows", len(x)):
        return pyro.sample("y", dist.Normal(torch.tanh(x @ w1.T + b1) @ w2, 0.5), obs=y)


class Module(PyroModule):
    """A layer of torch whose weights are sample sites, and a second layer in the expanded form."""

    def __init__(self, columns: int = 2) -> None:
        super().__init__()
        self.hidden = PyroModule[torch.nn.Linear](columns, 3)
        self.hidden.weight = PyroSample(distribution(StudentT(4.0, 0.6), (3, columns), axes=("out", "in")))
        self.hidden.bias = PyroSample(distribution(Normal(0.8), 3))

    def forward(self, x: Tensor, group: Tensor, y: Tensor | None = None) -> Tensor:
        mean = torch.relu(self.hidden(x)) @ weight("last", 3, Laplace(0.7))
        with pyro.plate("rows", len(x)):
            return pyro.sample("y", dist.Normal(mean, 0.5), obs=y)


def series(y: Tensor) -> None:
    """A level that mostly drifts and sometimes jumps; its innovations are drawn before the loop."""
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    step = weight("step", len(y), StudentT(3.0, 0.4), axes=("time",))
    level = torch.zeros(())
    for t in pyro.markov(range(len(y))):
        level = level + step[t]
        pyro.sample(f"y_{t}", dist.Normal(level, sigma), obs=y[t])


def series_in_loop(y: Tensor) -> None:
    """The same with each innovation drawn when its time comes."""
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    level = torch.zeros(())
    for t in pyro.markov(range(len(y))):
        level = level + weight(f"step_{t}", (), StudentT(3.0, 0.4))
        pyro.sample(f"y_{t}", dist.Normal(level, sigma), obs=y[t])


MODELS = {
    "hierarchical": hierarchical,
    "logistic": logistic,
    "network": network,
    "module": lambda *data: Module()(*data),
    "series": series,
    "series_in_loop": series_in_loop,
}
