"""``scalemix.testing.check_noise`` on every noise of ours and on a stranger's, and on noises that contradict themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from registry import NOISES
from scipy import stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise
from scalemix.testing import check_noise


@pytest.mark.parametrize("name", NOISES)
def test_our_noises(name: str) -> None:
    check_noise(NOISES[name].noise)


@dataclass(frozen=True)
class Gamma(noise.Noise):
    """A noise of somebody else: ξ ~ Gamma(shape, rate 1/scale), with two of its four optional parts."""

    shape: float = 2.0
    scale: float = 0.4

    def law(self, dist: Any) -> Any:
        return dist.Gamma(self.shape, 1.0 / self.scale)

    def scipy(self) -> Any:
        return stats.gamma(self.shape, scale=self.scale)


def test_a_noise_of_somebody_else() -> None:
    check_noise(Gamma(), in_numpyro, in_pyro)


class WrongLaw(Gamma):
    def law(self, dist: Any) -> Any:
        return dist.Gamma(self.shape, self.scale)


class WrongMean(Gamma):
    def power_mean(self, power: int) -> float:
        return 1.1 * super().power_mean(power)


class WrongMarginal(Gamma):
    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return stats.norm(scale=base_scale).logpdf(w) + math.log(0.9)


class WrongSite(Gamma):
    def from_site(self, ppl: Any, site: Any) -> Any:
        return 1.2 * site


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (WrongLaw(), "density of law"),
        (WrongMean(), "power_mean"),
        (WrongMarginal(), "integrate to 1"),
        (WrongSite(), "do not have the law of log_marginal"),
    ],
)
def test_a_contradiction_is_found(wrong: noise.Noise, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_noise(wrong, in_numpyro)


def test_what_is_no_noise_is_refused() -> None:
    with pytest.raises(TypeError, match="is not a noise"):
        check_noise(0.5)  # type: ignore[arg-type]
