"""Distributions that Pyro lacks, and ``dist``: Pyro's own with them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pyro.distributions as pyro_dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution

from scalemix.pyro.arrays import array_functions
from scalemix.special import HALF_LOG_2PI, two_scale_normal_log_prob

__all__ = ["Normal", "OnInterval", "ScaleMixture", "TwoScaleNormal", "dist", "dist_like"]


def _tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.tensor(float(value), dtype=torch.get_default_dtype())


class Normal(pyro_dist.Normal):
    """Normal law whose density is that of z = (x − μ)/σ, as NumPyro's is.

    torch divides by 2σ². In float32 that square is 0 below σ = 1e−19, and its derivative overflows from σ = 1e−7 on where |x| is 1e6: a
    hierarchical form gets there, where σ is a product of scales.
    """

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -0.5 * ((value - self.loc) / self.scale) ** 2 - torch.log(self.scale) - HALF_LOG_2PI


class ScaleMixture(TorchDistribution):
    """Law of w = scale · ξ z with z ~ N(0, 1) and ξ of the law ``noise`` integrated out, elementwise.

    ``log_density(xp, w, *params)`` is log p(w) for scale 1; formulas: ``scalemix.special``.
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(
        self, noise: Any, log_density: Callable[..., Any], scale: Any, params: tuple[float, ...] = (), *, validate_args: bool | None = None
    ) -> None:
        self.noise, self.log_density, self.params = noise, log_density, params
        self.scale = _tensor(scale)
        super().__init__(self.scale.shape, torch.Size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ScaleMixture:
        return ScaleMixture(self.noise, self.log_density, self.scale.expand(batch_shape), self.params, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        scale = self.scale.expand(torch.Size(sample_shape) + self.batch_shape)
        return scale * self.noise.sample(scale.shape) * torch.randn_like(scale, memory_format=torch.contiguous_format)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.log_density(array_functions, value / self.scale, *self.params) - torch.log(self.scale)


class OnInterval(pyro_dist.TransformedDistribution):
    """Law of transform(x), x ~ base, for an increasing transform that takes the support of ``base`` to (low, high)."""

    def __init__(self, base: Any, transform: Any, low: Any, high: Any, *, validate_args: bool | None = None) -> None:
        self._interval = constraints.interval(low, high)
        super().__init__(base, transform, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> OnInterval:
        new = super().expand(batch_shape, self._get_checked_instance(OnInterval, _instance))
        new._interval = self._interval
        return new

    @property
    def support(self) -> Any:
        return self._interval


class TwoScaleNormal(TorchDistribution):
    """Law of w = ξ z with ξ = high_scale with probability π, else low_scale, and z ~ N(0, 1); one ξ over the axes ``tied``.

    The event reaches to the leftmost tied axis; without tied axes it is univariate. Formula: ``scalemix.special``.
    """

    arg_constraints = {
        "inclusion_prob": constraints.unit_interval,
        "low_scale": constraints.positive,
        "high_scale": constraints.positive,
    }
    has_rsample = True

    def __init__(
        self, inclusion_prob: Any, low_scale: Any, high_scale: Any, *, tied: tuple[int, ...] = (), validate_args: bool | None = None
    ) -> None:
        self.tied = tuple(tied)
        low, high = _tensor(low_scale), _tensor(high_scale)
        self.inclusion_prob = torch.as_tensor(inclusion_prob, dtype=low.dtype, device=low.device)
        _, self.low_scale, self.high_scale = torch.broadcast_tensors(self.inclusion_prob, low, high)
        shape = self.low_scale.shape
        split = len(shape) - max((-axis for axis in self.tied), default=0)
        super().__init__(shape[:split], shape[split:], validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(constraints.real, self.event_dim) if self.event_dim else constraints.real

    @property
    def mean(self) -> torch.Tensor:
        return torch.zeros_like(self.low_scale)

    @property
    def variance(self) -> torch.Tensor:
        return self.inclusion_prob * self.high_scale**2 + (1.0 - self.inclusion_prob) * self.low_scale**2

    def expand(self, batch_shape: Any, _instance: Any = None) -> TwoScaleNormal:
        shape = torch.Size(batch_shape) + self.event_shape
        return TwoScaleNormal(self.inclusion_prob, self.low_scale.expand(shape), self.high_scale.expand(shape), tied=self.tied)

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        low = self.low_scale.expand(torch.Size(sample_shape) + self.low_scale.shape)
        gate_shape = [1 if axis - low.dim() in self.tied else size for axis, size in enumerate(low.shape)]
        gate = torch.rand(gate_shape, dtype=low.dtype, device=low.device) < self.inclusion_prob
        return torch.where(gate, self.high_scale, low) * torch.randn_like(low, memory_format=torch.contiguous_format)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return two_scale_normal_log_prob(
            array_functions, value, self.inclusion_prob, self.low_scale, self.high_scale, self.tied, self.event_dim
        )


dist = SimpleNamespace(**{name: getattr(pyro_dist, name) for name in dir(pyro_dist) if not name.startswith("_")})
dist.Normal, dist.OnInterval, dist.ScaleMixture, dist.TwoScaleNormal = Normal, OnInterval, ScaleMixture, TwoScaleNormal


class _DistLike:
    """``dist`` whose Python numbers become tensors of the dtype and on the device of ``like``."""

    transforms = pyro_dist.transforms

    def __init__(self, like: torch.Tensor) -> None:
        self._like = like

    def __getattr__(self, name: str) -> Callable[..., Any]:
        make = getattr(dist, name)

        def constructor(*args: Any, **kwargs: Any) -> Any:
            return make(*map(self._tensor, args), **{key: self._tensor(value) for key, value in kwargs.items()})

        return constructor

    def _tensor(self, value: Any) -> Any:
        return self._like.new_tensor(value) if isinstance(value, float | int) and not isinstance(value, bool) else value


def dist_like(like: torch.Tensor) -> Any:
    """``dist`` whose Python numbers become arrays of the dtype and on the device of ``like``."""
    return _DistLike(like)
