"""The gate of an information bottleneck: a noise that only a variational objective can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scalemix.noise.base import Noise
from scalemix.variational_scope import current_scope

__all__ = ["Bottleneck"]

REASON = (
    "γ is maximized, and its profile is the improper log-uniform law; fit with scalemix.inference.vib, or use noise.LogUniform(low, high)"
)


@dataclass(frozen=True)
class Bottleneck(Noise):
    """ξ ~ N(0, γ) with γ put where a guide's divergence is least: the gates of VIBNet, and of structured variational Bayesian dropout.

    A gate N(μ, σ²) then costs ½ log(1 + μ²/σ²): Dai, Zhu and Wipf (2018), eq. 9 and 10, with ψ left out; Liu et al. (2019), eq. 17, for a
    unit in place of a weight. No posterior: γ is a point, and its profile is the improper log-uniform law. Tie it to units,
    ``noise.Bottleneck().per("in")``, and fit with ``scalemix.inference.vib``.
    """

    proper: ClassVar[bool] = False

    def law(self, dist: Any) -> Any:
        """An improper law of ``dist`` that only the guide's divergence is taken from.

        Raises: ValueError outside of a variational objective.
        """
        from scalemix.variational_priors import GaussianUniformMaximized

        if current_scope() is None:
            raise ValueError(f"{self} cannot be sampled: {REASON}")
        return dist.VariationalLaw(GaussianUniformMaximized(), ())

    def scipy(self) -> Any:
        """It has none.

        Raises: ValueError, always.
        """
        raise ValueError(f"{self} has no law to describe: {REASON}")

    def marginal_refusal(self, tied: bool) -> str | None:
        return f"{self} has no law whose integral would exist"

    def site_mean(self) -> float:
        return 1.0  # where a guide's gates begin: under its own law ξ has no scale
