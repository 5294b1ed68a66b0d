"""Log-normal scales: q(x) = LogN(μ, σ²) for the scales of shrinkage priors, with divergences that have a closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import stats

from scalemix.arrays import arrays
from scalemix.checks import Deferred
from scalemix.divergences import log_normal_gamma, log_normal_inverse_gamma
from scalemix.guides.component import Component, Target, rows_of
from scalemix.noise import HalfCauchy, InverseNakagami

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["LogNormal"]

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(48)  # of E f(ε), ε ~ N(0, 1)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class LogNormal(Component):
    """q(x) = LogN(μ, σ²) for a scale x that is half-Cauchy, or whose square is inverse-gamma (a slab).

        split     x² = a b, a ~ Gamma(½, scale s²), b ~ InvGamma(½, 1), which makes x half-Cauchy(s); q(a) and q(b) are log-normal, so that
                  x is, with log x ~ N(½(μ_a + μ_b), ¼(σ_a² + σ_b²)); the divergence is the sum of those of a and b, above that of x alone
        direct    KL(LogN(μ, σ²) ‖ C⁺(0, s)) = E log(1 + x²/s²) − μ + log s + log(π/2) − log σ − ½ log 2πe, E by quadrature

    Louizos, Ullrich and Welling (2017), appendix A; Ghosh, Yao and Doshi-Velez (2018). Of a slab c: c² ~ InvGamma(a, b).

    Parameters ``{site}_loc``, ``{site}_log_variance``; split also ``{site}_inverse_loc`` and ``{site}_inverse_log_variance`` of log b, the
    first two being of log a.

    Args:
        split: of a half-Cauchy scale.
        log_variance: first value of log σ².
        log_scale: first value of log x.
    """

    split: bool = True
    log_variance: float = -4.0
    log_scale: float = 0.0

    noise_suffixes: ClassVar[tuple[str, ...]] = ("log_variance", "inverse_log_variance")

    def refusal(self, target: Target) -> str | None:
        law = target.noise
        if not isinstance(law, HalfCauchy | InverseNakagami) or target.support is None:
            return f"its law {law} is neither a half-Cauchy nor an inverse-Nakagami scale"
        if isinstance(law.scale, Deferred):
            return f"the scale of {law} is no number: resolve it, or let the scale be a factor of its own"
        return None

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shape = target.row_shape
        if not self._splits(target):
            return {"loc": np.full(shape, float(self.log_scale)), "log_variance": np.full(shape, float(self.log_variance))}
        return {
            "loc": np.full(shape, 2.0 * self.log_scale),
            "log_variance": np.full(shape, float(self.log_variance)),
            "inverse_loc": np.zeros(shape),
            "inverse_log_variance": np.full(shape, float(self.log_variance)),
        }

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        given = {suffix: param(suffix) for suffix in self.initial(target, np.random.default_rng(0))}
        loc, log_variance = self._law(target, given)
        law = ppl.dist.TransformedDistribution(ppl.dist.WeightNormal(loc, log_variance), [ppl.dist.transforms.ExpTransform()])
        law = law.to_event(len(target.row_shape))
        with rows_of(ppl, target, data):
            return ppl.sample(target.site, ppl.dist.WithDivergence(law, self._divergence(target, given)), infer={"divergence": "closed"})

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        loc, log_variance = self._law(target, params)
        at = stats.norm.ppf(probs).reshape(-1, *(1,) * len(target.row_shape))
        values = np.exp(loc + np.exp(0.5 * log_variance) * at)
        values = values[:, None] if target.per_case else values
        return np.broadcast_to(values, (len(probs), *target.shape)).copy()

    def _splits(self, target: Target) -> bool:
        return self.split and isinstance(target.noise, HalfCauchy)

    def _law(self, target: Target, given: dict[str, Any]) -> tuple[Any, Any]:
        """Mean and log variance of log x."""
        if not self._splits(target):
            return given["loc"], given["log_variance"]
        xp, first, second = arrays(given["log_variance"], given["inverse_log_variance"])
        return 0.5 * (given["loc"] + given["inverse_loc"]), xp.logaddexp(first, second) - 2.0 * float(np.log(2.0))

    def _divergence(self, target: Target, given: dict[str, Any]) -> Any:
        xp, loc, log_variance = arrays(given["loc"], given["log_variance"])
        law, scale = target.noise, xp.exp(0.5 * log_variance)
        assert law is not None  # refused before
        width = float(law.scale)  # type: ignore[attr-defined]
        if isinstance(law, InverseNakagami):
            shape = 0.5 * float(law.df)
            return log_normal_inverse_gamma(2.0 * loc, 2.0 * scale, concentration=shape, prior_scale=shape * width**2).sum()
        if self._splits(target):
            inverse = xp.exp(0.5 * given["inverse_log_variance"])
            of_a = log_normal_gamma(loc, scale, concentration=0.5, prior_scale=width**2)
            return (of_a + log_normal_inverse_gamma(given["inverse_loc"], inverse, concentration=0.5, prior_scale=1.0)).sum()
        return half_cauchy(loc, scale, width).sum()


def half_cauchy(loc: Any, scale: Any, width: float) -> Any:
    """KL(LogN(μ, σ²) ‖ C⁺(0, s)), elementwise: its expectation by 48 nodes, right to 1e−6 for σ ≤ 2."""
    xp, loc, scale = arrays(loc, scale)
    at = loc[..., None] + scale[..., None] * xp.asarray(NODES, loc)
    mean = xp.sum(xp.asarray(WEIGHTS, loc) * xp.softplus(2.0 * (at - float(np.log(width)))), axis=-1)
    entropy = loc + xp.log(scale) + 0.5 * float(np.log(2.0 * np.pi * np.e))
    return mean - entropy + float(np.log(width) + np.log(0.5 * np.pi))
