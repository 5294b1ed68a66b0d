"""Log joints written out with SciPy, in every form and both languages."""

from __future__ import annotations

import math
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models, noise
from scalemix.minibatch import minibatch_of
from scalemix.priors import ScaleMixture, SpikeAndSlab

Array = np.ndarray
LANGUAGES = (in_numpyro, in_pyro)
SPIKE = SpikeAndSlab(0.3, 1.0, 0.05)

NUM, WIDTH = 6, 3
DRAWS = 5


def _data() -> tuple[Array, Array]:
    rng = np.random.default_rng(30)
    return rng.normal(size=(NUM, WIDTH)), rng.normal(size=NUM)


def _positive(*shape: int) -> Array:
    return np.random.default_rng(math.prod(shape) + 31).gamma(2.0, size=(DRAWS, *shape))


def _real(*shape: int) -> Array:
    return np.random.default_rng(math.prod(shape) + 32).normal(size=(DRAWS, *shape))


def _log_slab(c: Array, df: float, scale: float) -> Array:
    return stats.invgamma(df / 2, scale=df * scale**2 / 2).logpdf(c**2) + np.log(2 * c)


def _regularized(form: str) -> tuple[Any, dict[str, Array], Array]:
    """Piironen and Vehtari: tau0 = p₀/((p − p₀)√N), s̃² = c²s²/(c² + s²), both multiplied by sigma."""
    prior = sm.Horseshoe(expected_active=1.5, num_data=NUM, slab_scale=1.7, slab_df=5.0)
    model = partial(models.linear, prior=prior, parametrization=form, scale_by_sigma=True)
    x, y = _data()
    local, tau, slab, sigma, weights, bias = (
        _positive(WIDTH),
        _positive(1)[:, 0],
        0.7 * _positive(),
        _positive() + 0.1,
        _real(WIDTH),
        _real(),
    )
    s = local * tau[:, None]
    scale = sigma[:, None] * np.sqrt(slab[:, None] ** 2 * s**2 / (slab[:, None] ** 2 + s**2))
    expanded = form == "expanded"
    w = scale * weights if expanded else weights
    values = {
        "w1_noise_weight": local,
        "w1_tau": tau,
        "w1_slab": slab,
        "sigma": sigma,
        "w1_base" if expanded else "w1": weights,
        "b1": bias,
    }
    tau0 = 1.5 / ((WIDTH - 1.5) * math.sqrt(NUM))
    expected = (
        stats.halfcauchy.logpdf(local).sum(1)
        + stats.halfcauchy.logpdf(tau, scale=tau0)
        + _log_slab(slab, 5.0, 1.7)
        + stats.halfnorm.logpdf(sigma)
        + stats.norm.logpdf(weights, scale=1.0 if expanded else scale).sum(1)
        + stats.norm.logpdf(bias)
        + stats.norm.logpdf(y, w @ x.T + bias[:, None], sigma[:, None]).sum(1)
    )
    return model, values, expected


def _network(form: str) -> tuple[Any, dict[str, Array], Array]:
    """One Rayleigh or folded normal noise per input unit, weights over √fan_in, Student-t outcomes."""
    prior = {
        "w1": ScaleMixture(noise.Rayleigh(0.8).per("in"), base_scale=1.5),
        "w2": ScaleMixture(noise.Gaussian(1.0, 0.5).per("in"), base_scale=0.7),
    }
    model = partial(models.mlp, prior=prior, widths=(4,), likelihood=likelihoods.StudentT(df=5.0), parametrization=form)
    x, y = _data()
    first, second, sigma = _positive(WIDTH), _positive(4), _positive() + 0.1
    one, two, bias, top = _real(WIDTH, 4), _real(4, 1), _real(4), _real(1)
    scales = 1.5 * first[:, :, None] / math.sqrt(WIDTH), 0.7 * second[:, :, None] / math.sqrt(4)
    expanded = form == "expanded"
    w1, w2 = (one * scales[0] / 1.5, two * scales[1] / 0.7) if expanded else (one, two)
    output = (np.tanh(x @ w1 + bias[:, None, :]) @ w2)[:, :, 0] + top
    law = stats.norm(1.0, 0.5)
    suffix = "_base" if expanded else ""
    values = {"w1_noise": first, f"w1{suffix}": one, "b1": bias, "w2_noise": second, f"w2{suffix}": two, "b2": top, "sigma": sigma}
    expected = (
        stats.rayleigh.logpdf(first, scale=0.8).sum(1)
        + (law.logpdf(second) if expanded else np.log(law.pdf(second) + law.pdf(-second))).sum(1)
        + stats.norm.logpdf(one, scale=1.5 if expanded else scales[0]).sum((1, 2))
        + stats.norm.logpdf(two, scale=0.7 if expanded else scales[1]).sum((1, 2))
        + stats.norm.logpdf(bias).sum(1)
        + stats.norm.logpdf(top).sum(1)
        + stats.halfnorm.logpdf(sigma)
        + stats.t.logpdf(y, 5.0, output, sigma[:, None]).sum(1)
    )
    return model, values, expected


def _log_spike(w: Array) -> Array:
    return np.log(0.3 * stats.norm.pdf(w, scale=1.2) + 0.7 * stats.norm.pdf(w, scale=0.06)).sum(1)


NAMED = {
    "normal": (sm.Normal(0.8), lambda w: stats.norm.logpdf(w, scale=0.8).sum(1)),
    "laplace": (sm.Laplace(0.7), lambda w: stats.laplace.logpdf(w, scale=0.7).sum(1)),
    "student_t": (sm.StudentT(4.0, 0.6), lambda w: stats.t.logpdf(w, 4.0, scale=0.6).sum(1)),
    "spike": (SpikeAndSlab(0.3, 1.2, 0.06), _log_spike),
}


def _counts(name: str) -> tuple[Any, dict[str, Array], Array]:
    """Poisson outcomes under a named prior with its noise integrated out; the data are 6 of 30 cases, so each counts five times."""
    prior, log_prior = NAMED[name]
    model = partial(models.linear, prior=prior, parametrization="marginal", likelihood="poisson", bias_prior=None)
    x, _ = _data()
    w = 0.3 * _real(WIDTH)
    log_likelihood = stats.poisson.logpmf(COUNTS, np.exp(w @ x.T)).sum(1)
    return model, {"w1": w}, log_prior(w) + 5.0 * log_likelihood


COUNTS = np.array([0.0, 3.0, 1.0, 2.0, 0.0, 5.0])
WRITTEN_OUT = {
    "regularized-expanded": (_regularized, "expanded"),
    "regularized-hierarchical": (_regularized, "hierarchical"),
    "network-expanded": (_network, "expanded"),
    "network-hierarchical": (_network, "hierarchical"),
    **{f"counts-{name}": (_counts, name) for name in NAMED},
}


@pytest.mark.parametrize("case", WRITTEN_OUT)
@pytest.mark.parametrize("ppl", LANGUAGES, ids=lambda ppl: ppl.name)
def test_log_joint_written_out(ppl: ModuleType, case: str) -> None:
    """The log joint at five points with SciPy's densities: of what both languages share, comparing the two is no judge."""
    write, option = WRITTEN_OUT[case]
    model, values, expected = write(option)
    x, y = _data()
    with minibatch_of(30 if write is _counts else None), ppl.engine.precision("float64", "cpu"):
        found = ppl.engine.evaluate(model, (x, COUNTS if write is _counts else y), values, chunk=DRAWS)
    np.testing.assert_allclose(found.log_joint, expected, rtol=1e-10)


def test_inverted_dropout_keeps_the_mean() -> None:
    moments = noise.Bernoulli.from_dropout_rate(0.2).moments()
    assert moments.mean == pytest.approx(1.0, rel=1e-12)
    assert moments.second == pytest.approx(1 / 0.8, rel=1e-12)
