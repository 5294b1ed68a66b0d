"""Public checks for what somebody else writes: a noise says one law, in SciPy, in its moments, in its density of w and in each language."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from scalemix.language import PPL
from scalemix.marginal import atom, log_marginal
from scalemix.noise import Bernoulli, Constant, Noise
from scalemix.plan import forms
from scalemix.priors import ScaleMixture

__all__ = ["check_noise"]

QUANTILES = np.array([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
P_VALUE = 1e-4
NUM_WEIGHTS = 2


def check_noise(noise: Noise, *languages: PPL, num_draws: int = 20_000, seed: int = 0) -> None:
    """Check that everything a noise says is of one law.

    - ``scipy()``: its density is the slope of its distribution function, and ``ppf`` the inverse of ``cdf``.
    - ``power_mean`` against an average over the quantiles of the law (where the mean is finite and that average converges).
    - ``log_marginal``: p(w) integrates to 1 − P(ξ = 0), and is the same with the closed form taken away.
    - in each language: the density of its law is SciPy's, and draws of w in every form the noise has, tied and untied, pass Kolmogorov and
      Smirnov's test against ``log_marginal`` at p > 1e-4.

    Args:
        noise: an instance, at settings other than its defaults (faults hide at 1).
        languages: modules such as ``scalemix.numpyro``; without any, NumPy and SciPy alone are checked.
        num_draws: of w in each form; 20 000 see a scale that is 5 to 20 % off.
        seed: of the draws.

    Raises:
        AssertionError: the first thing that does not agree, in one sentence.
        TypeError: the noise does not say its SciPy law, without which there is nothing to compare with.

    Example:
        >>> check_noise(MyNoise(scale=0.7), scalemix.numpyro, scalemix.pyro)
    """
    if not isinstance(noise, Noise):
        raise TypeError(f"{noise!r} is not a noise: subclass scalemix.noise.Noise and give an instance")
    prior = ScaleMixture(noise, base_scale=1.3)
    points = not noise.hyper_laws and not isinstance(noise, Bernoulli | Constant)
    if points:
        _check_scipy(noise)
    log_size, cumulative = _law_of_log_size(prior)
    for ppl in languages:
        with ppl.engine.precision("float64", "cpu"):
            if points and type(noise).from_site is Noise.from_site:
                _check_density(noise, ppl)
            for form in forms(prior):
                for per in (None, "in"):
                    if per and noise.marginal_refusal(True) is not None and form == "marginal":
                        continue
                    w = _draws(ppl, prior if per is None else ScaleMixture(noise.per(per), base_scale=1.3), form, num_draws, seed)
                    _check_draws(noise, f"{form} form in {ppl.name}", w, atom(prior), log_size, cumulative)


def _check_scipy(noise: Noise) -> None:
    law = noise.scipy()
    inside = QUANTILES[(QUANTILES > law.cdf(0.0)) & (law.ppf(QUANTILES) < law.support()[1])]
    x = law.ppf(inside)
    _close(law.cdf(x), inside, f"{noise}: scipy().cdf(scipy().ppf(q)) is not q", 1e-8)
    step = 1e-5 * (np.abs(x) if law.support()[0] >= 0.0 else np.maximum(np.abs(x), 1e-3 * np.max(np.abs(x))))
    _close(law.pdf(x), (law.cdf(x + step) - law.cdf(x - step)) / (2 * step), f"{noise}: scipy().pdf is not the slope of scipy().cdf", 1e-4)
    u = (np.arange(200_000) + 0.5) / 200_000
    values = law.ppf(u)
    for power in (1, 2):
        mean, average = noise.power_mean(power), float(np.mean(values**power))
        if math.isfinite(noise.power_mean(4 * power)):  # light tails: the average over quantiles converges
            _close(mean, average, f"{noise}: power_mean({power}) is not E[ξ^{power}]", 1e-2)


def _law_of_log_size(prior: ScaleMixture) -> tuple[np.ndarray, np.ndarray]:
    """P(log|w| < t | w ≠ 0) on a grid of t, by the trapezoid rule, whose whole must be 1 − P(w = 0)."""
    t = np.linspace(-60.0, 60.0, 1501)
    density = 2.0 * np.exp(log_marginal(prior, np.exp(t)) + t)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(t) * (density[1:] + density[:-1]))])
    _close(cumulative[-1], 1.0 - atom(prior), f"{prior}: the density of w does not integrate to 1 − P(w = 0)", 1e-5)
    return t, cumulative / cumulative[-1]


def _check_density(noise: Noise, ppl: PPL) -> None:
    def model(ppl: PPL) -> None:
        ppl.sample("xi", noise.law(ppl.dist))

    law = noise.scipy()
    x = law.ppf(QUANTILES)
    found = ppl.engine.evaluate(model, (), {"xi": x}, chunk=len(x)).log_joint
    _close(found, law.logpdf(x), f"{noise}: the density of law(dist) in {ppl.name} is not that of scipy()", 1e-6)


def _draws(ppl: PPL, prior: ScaleMixture, form: str, num_draws: int, seed: int) -> np.ndarray:
    """Weights that share nothing: one entry of each array."""

    def model(ppl: PPL) -> Any:
        with ppl.plate("cells", num_draws):
            return ppl.weight("w", (NUM_WEIGHTS, NUM_WEIGHTS), prior, parametrization=form)

    return np.asarray(ppl.engine.sample_prior(model, (), num_draws=1, seed=seed)["w"])[0, :, 0, 0]


def _check_draws(noise: Noise, where: str, w: np.ndarray, at_zero: float, log_size: np.ndarray, cumulative: np.ndarray) -> None:
    zeros, size = int(np.sum(w == 0.0)), np.log(np.abs(w[w != 0.0]))
    if at_zero > 0.0 and stats.binomtest(zeros, w.size, at_zero).pvalue <= P_VALUE:
        raise AssertionError(f"{noise}, {where}: {zeros} of {w.size} draws are 0, and P(ξ = 0) is {at_zero:g}")
    p = float(stats.kstest(size, lambda t: np.interp(t, log_size, cumulative), method="asymp").pvalue)
    if p <= P_VALUE:
        raise AssertionError(f"{noise}, {where}: draws of w do not have the law of log_marginal (KS test, p = {p:.1g})")


def _close(found: Any, expected: Any, sentence: str, tolerance: float) -> None:
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    if not np.allclose(found, expected, rtol=tolerance, atol=tolerance):
        worst = int(np.argmax(np.abs(found - expected)))
        raise AssertionError(f"{sentence}: {found.ravel()[worst]:.8g} against {expected.ravel()[worst]:.8g}")
