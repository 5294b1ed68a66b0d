"""Every form of every noise draws w from the same law, in both languages: 200 000 prior draws of each against the density.

The judge is ``scalemix.log_marginal`` (NumPy and SciPy, held to known answers elsewhere). The draws of |w| are held to it by Kolmogorov
and Smirnov's test and their signs to a fair coin; seeds are fixed, so a result is always the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from prior_draws import P_VALUE, p_value, p_value_cauchy, prior_draws
from registry import NOISES, PRIORS
from scipy import stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import atom
from scalemix.plan import Parametrization
from scalemix.priors import ScaleMixture

LANGUAGES = ("numpyro", "pyro")


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield


def _rows() -> Iterator[tuple[str, ScaleMixture, Parametrization]]:
    for name, row in NOISES.items():
        if len(row.forms) > 1:
            yield from ((name, ScaleMixture(row.noise, base_scale=1.3), form) for form in row.forms)
    for name in ("horseshoe", "regularized_horseshoe"):
        yield from ((name, PRIORS[name].prior.resolve(6), form) for form in PRIORS[name].forms)


BY_GAMMA = ("beta", "chi", "inverse_nakagami", "learned_gate", "regularized_horseshoe", "relaxed_bernoulli")  # JAX takes seconds to draw it
ROWS = [
    pytest.param(name, prior, form, language, id=f"{name}-{form if isinstance(form, str) else 'mixed'}-{language}", marks=marks)
    for name, prior, form in _rows()
    for language in LANGUAGES
    for marks in [[pytest.mark.slow] if language == "numpyro" and name in BY_GAMMA and form != "expanded" else []]
]


@pytest.mark.parametrize(("name", "prior", "form", "language"), ROWS)
def test_draws_have_the_law_of_the_prior(name: str, prior: ScaleMixture, form: Parametrization, language: str) -> None:
    w = prior_draws(language, prior, (2,), form).ravel()
    assert w.size == 200_000  # two independent weights in each of 100 000 cells
    assert p_value(prior, w) > P_VALUE
    if name == "structured_pruning":  # log ξ is uniform over 20 e-folds, where 5 % more is 0.05 of them
        assert p_value(prior, 1.5 * w) < P_VALUE
        return
    assert p_value(prior, 1.05 * w) < P_VALUE, "a scale that is 5 % off is seen in 200 000 draws"
    assert p_value(prior, 1.2 * w[:20_000]) < P_VALUE, "a scale that is 20 % off is seen in 20 000 draws"
    assert stats.binomtest(int(np.sum(w > 0)), int(np.sum(w != 0))).pvalue > P_VALUE


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [name for name, row in NOISES.items() if row.noise.atom > 0.0])
def test_draws_of_an_atom_and_of_what_is_beside_it(name: str, language: str) -> None:
    prior = ScaleMixture(NOISES[name].noise, base_scale=1.3)
    w = prior_draws(language, prior, (2,), "expanded").ravel()
    assert stats.binomtest(int(np.sum(w == 0)), w.size, atom(prior)).pvalue > P_VALUE
    assert p_value(prior, w[w != 0]) > P_VALUE
    assert p_value(prior, 1.05 * w[w != 0]) < P_VALUE


TIED_ROWS = [
    pytest.param(name, form, language, id=f"{name}-{form}-{language}", marks=[pytest.mark.slow] if slow else [])
    for name, row in NOISES.items()
    if len(row.tied_forms) > 1
    for form in row.tied_forms
    for language in LANGUAGES
    for slow in [language == "numpyro" and name not in ("bernoulli_low", "rayleigh")]  # JAX compiles each for a second
]


@pytest.mark.parametrize(("name", "form", "language"), TIED_ROWS)
def test_tied_draws_share_their_noise_and_have_its_law(name: str, form: str, language: str) -> None:
    """w (n, 2, 2) tied per "in": each entry has the law of w, and two of one row are two normals times one ξ, whose ratio is Cauchy."""
    prior = ScaleMixture(NOISES[name].noise.per("in"), base_scale=1.3)
    w = prior_draws(language, prior, (2, 2), form)
    independent = np.concatenate([w[:, 0, 0], w[:, 1, 1]])
    assert p_value(prior, independent) > P_VALUE
    assert p_value(prior, (1.5 if name == "structured_pruning" else 1.05) * independent) < P_VALUE
    assert p_value_cauchy(w[:, 0, 0] / w[:, 0, 1]) > P_VALUE
    assert p_value_cauchy(w[:, 0, 0] / w[:, 1, 0]) < P_VALUE, "two rows have each their own ξ, and the ratio of such two is not Cauchy"
