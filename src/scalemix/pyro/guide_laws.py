"""In torch: a law of a guide that brings its divergence along."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Delta
from pyro.distributions.torch_distribution import TorchDistribution
from torch.distributions import Distribution
from torch.distributions.kl import register_kl

from scalemix.pyro.distributions import dist

__all__ = ["WithDivergence"]


class WithDivergence(TorchDistribution):
    """The law ``base``, whose KL to whatever stands in the model is ``divergence``, of its batch shape: a bound, or a penalty."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, base: Any, divergence: Any, *, validate_args: Any = None) -> None:
        self.base, self.divergence = base, divergence
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.base.support

    @property
    def has_rsample(self) -> bool:
        return self.base.has_rsample

    def expand(self, batch_shape: Any, _instance: Any = None) -> WithDivergence:
        shape = torch.Size(batch_shape)
        return WithDivergence(self.base.expand(shape), self.divergence.expand(shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.base.rsample(sample_shape)

    def log_prob(self, value: Any) -> torch.Tensor:
        return self.base.log_prob(value)


@register_kl(WithDivergence, Distribution)
def _divergence(q: WithDivergence, p: Any) -> torch.Tensor:
    return q.divergence


register_kl(WithDivergence, Delta)(_divergence)

dist.WithDivergence = WithDivergence
