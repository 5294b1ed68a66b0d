"""In torch: the law of a guide's weights, the law of a prior that has a divergence and no draws, and the divergence between them."""

from __future__ import annotations

from typing import Any

import pyro.distributions as pyro_dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch.distributions.kl import kl_divergence, register_kl

from scalemix.local_reparametrization import Unsampled
from scalemix.pyro.arrays import array_functions
from scalemix.pyro.distributions import Normal, dist
from scalemix.variational_priors import VariationalPrior
from scalemix.variational_scope import current_scope

__all__ = ["MultiplicativeNormal", "VariationalLaw", "WeightNormal", "kl_divergence", "standard_normal"]


def standard_normal(like: torch.Tensor) -> torch.Tensor:
    """Standard normals in the shape of ``like``, by torch's generator."""
    return torch.randn_like(like)


class UnsampledTensor(Unsampled):
    """In torch: every function of torch draws it first."""

    @property
    def device(self) -> torch.device:
        return self.loc.device

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*_drawn(args), **_drawn(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.drawn(), name)


def _drawn(value: Any) -> Any:
    if isinstance(value, Unsampled):
        return value.drawn()
    if isinstance(value, tuple | list):
        return type(value)(_drawn(each) for each in value)
    return {name: _drawn(each) for name, each in value.items()} if isinstance(value, dict) else value


class WeightNormal(Normal):
    """N(loc, e^log_variance) of a guide's weights, whose draws may be left to the layers (``lazy``).

    Where log α = log_variance − log loc² is above ``mask_above``, draws are 0: the weight is pruned already during training.
    """

    def __init__(
        self, loc: Any, log_variance: Any, *, lazy: bool = False, mask_above: float | None = None, validate_args: Any = None
    ) -> None:
        self.log_variance, self.lazy, self.mask_above = log_variance, lazy, mask_above
        super().__init__(loc, torch.exp(0.5 * log_variance), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> WeightNormal:
        shape = torch.Size(batch_shape)
        return WeightNormal(self.loc.expand(shape), self.log_variance.expand(shape), lazy=self.lazy, mask_above=self.mask_above)

    def rsample(self, sample_shape: Any = ()) -> Any:
        loc, scale = self.loc, self.scale
        if self.mask_above is not None:
            kept = self._kept(self.mask_above)
            loc, scale = loc * kept, scale * kept
        if self.lazy and not sample_shape:
            return UnsampledTensor(loc, scale * scale, standard_normal, scale=scale)
        shape = torch.Size(sample_shape) + self.batch_shape
        return loc + scale * standard_normal(loc.expand(shape))

    def log_prob(self, value: Any) -> torch.Tensor:
        return super().log_prob(value.drawn() if isinstance(value, Unsampled) else value)

    def _kept(self, above: float) -> torch.Tensor:
        return self.log_variance.detach() <= above + 2.0 * torch.log(torch.abs(self.loc.detach()))


class MultiplicativeNormal(WeightNormal):
    """N(loc, e^log_alpha loc²) of a guide's weights, else as ``WeightNormal``; the shape of ``log_alpha`` broadcasts to that of ``loc``."""

    def __init__(self, loc: Any, log_alpha: Any, *, lazy: bool = False, mask_above: float | None = None, validate_args: Any = None) -> None:
        self.log_alpha, self.lazy, self.mask_above = log_alpha, lazy, mask_above
        Normal.__init__(self, loc, torch.exp(0.5 * log_alpha) * torch.abs(loc), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> MultiplicativeNormal:
        shape = torch.Size(batch_shape)
        return MultiplicativeNormal(self.loc.expand(shape), self.log_alpha, lazy=self.lazy, mask_above=self.mask_above)

    def _kept(self, above: float) -> torch.Tensor:
        return self.log_alpha.detach() <= above


class VariationalLaw(TorchDistribution):
    """Law of weights of that ``shape`` under a prior that has a divergence from a normal and no draws."""

    arg_constraints: dict[str, Any] = {}
    support = constraints.real
    has_rsample = True

    def __init__(self, prior: VariationalPrior, shape: tuple[int, ...], *, validate_args: Any = None) -> None:
        self.prior = prior
        super().__init__(torch.Size(shape), torch.Size(), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> VariationalLaw:
        return VariationalLaw(self.prior, tuple(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        scope = current_scope()
        if scope is None or not scope.placeholders:
            raise ValueError(f"{self.prior} cannot be sampled: {self.prior.reason}; use {self.prior.remedy}")
        return torch.zeros(torch.Size(sample_shape) + self.batch_shape)

    def log_prob(self, value: Any) -> torch.Tensor:
        """Up to a constant; of a weight that was not drawn, 0: the divergence stands for it."""
        if isinstance(value, Unsampled):
            return value.loc.new_zeros(())
        return self.prior.log_density(array_functions, value)


@register_kl(pyro_dist.Normal, VariationalLaw)
def _divergence_of_normal(q: Any, p: VariationalLaw) -> torch.Tensor:
    return p.prior.divergence(q.loc, q.scale)


@register_kl(MultiplicativeNormal, VariationalLaw)
def _divergence_of_multiplicative(q: MultiplicativeNormal, p: VariationalLaw) -> torch.Tensor:
    return p.prior.divergence_at(q.log_alpha).expand(q.batch_shape)


dist.WeightNormal, dist.MultiplicativeNormal, dist.VariationalLaw = WeightNormal, MultiplicativeNormal, VariationalLaw
