"""Twenty combinations of noises, tyings, base scale, slab, parametrization and language, drawn from the registry with a fixed seed.

The judges are SciPy's draws and quadrature of the noises' laws, ``scalemix.log_marginal`` (held to them here too), and the other language.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from densities import line
from parity import check_parity
from prior_draws import P_VALUE, p_value, prior_draws
from registry import ALL_FORMS, NOISES, TYINGS, TyingRow
from scipy import integrate, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import atom, effect_sd, log_marginal, noise
from scalemix.plan import Parametrization, make_plan
from scalemix.priors import ScaleMixture
from scalemix.tying import Factor

NUM_COMBINATIONS, NUM_CELLS = 20, 20_000


@dataclass(frozen=True)
class Combination:
    """A prior on a weight of that shape, the tying of each of its factors, and the form and the language in which it is tried."""

    names: tuple[str, ...]
    tyings: tuple[str, ...]
    prior: ScaleMixture
    form: Parametrization
    language: str

    @property
    def layout(self) -> TyingRow:
        return TYINGS[self.tyings[0]]

    @property
    def id(self) -> str:
        factors = "+".join(f"{name}.{tying}" for name, tying in zip(self.names, self.tyings, strict=True))
        slab = "+slab" if self.prior.slab is not None else ""
        return f"{factors}{slab}-{self.form if isinstance(self.form, str) else 'mixed'}-{self.language}"

    def exists(self, form: Parametrization) -> bool:
        try:
            make_plan(self.prior, self.layout.shape, self.layout.axes, form)
        except ValueError:
            return False
        return True


def _combinations() -> Iterator[Combination]:
    rng = np.random.default_rng(2026)
    layouts: dict[Any, list[str]] = {}
    for name, row in TYINGS.items():
        layouts.setdefault((row.shape, row.axes), []).append(name)
    groups = [names for names in layouts.values() if len(names) > 1]
    names, number = [], 0
    while number < NUM_COMBINATIONS:
        unseen = [name for name in NOISES if name not in names]  # each once, before any comes again
        chosen = tuple(rng.choice(unseen or list(NOISES), min(rng.integers(1, 3), len(unseen) or 2), replace=False).tolist())
        tyings = tuple(rng.choice(groups[rng.integers(len(groups))], len(chosen)).tolist())
        factors = [
            Factor(NOISES[name].noise, TYINGS[tying].per or None, f"noise{i}")
            for i, (name, tying) in enumerate(zip(chosen, tyings, strict=True))
        ]
        slab = noise.InverseNakagami(4.0, float(rng.uniform(0.5, 3.0))) if len(chosen) == 1 and rng.random() < 0.4 else None
        prior = ScaleMixture(*factors, base_scale=float(10 ** rng.uniform(-1, 1)), slab=slab)
        mixed = {label: float(rng.uniform()) for label in prior.labels if NOISES[chosen[int(label[-1])]].noise.atom == 0.0}
        mixed = {label: value for label, value in mixed.items() if NOISES[chosen[int(label[-1])]].forms != ("marginal",)}
        drawn = Combination(chosen, tyings, prior, None, str(rng.choice(["numpyro", "pyro"])))
        forms = [form for form in (*ALL_FORMS, mixed) if drawn.exists(form)]
        form = "marginal" if "marginal" in forms and rng.random() < 0.7 else forms[rng.integers(len(forms))]
        yield Combination(chosen, tyings, prior, form, drawn.language)
        names, number = [*names, *chosen], number + 1


COMBINATIONS = list(_combinations())
IDS = [f"{i}-{drawn.id}" for i, drawn in enumerate(COMBINATIONS)]
NUM_FAST = 5  # what JAX compiles for one, and a quadrature of several noises, take some seconds
each_combination = pytest.mark.parametrize("drawn", COMBINATIONS, ids=IDS)
each_in_turn = pytest.mark.parametrize(
    "drawn",
    [
        pytest.param(drawn, id=name, marks=[pytest.mark.slow] if i >= NUM_FAST else [])
        for i, (drawn, name) in enumerate(zip(COMBINATIONS, IDS, strict=True))
    ],
)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield


def test_they_are_twenty_and_have_every_noise_form_and_language() -> None:
    assert len(COMBINATIONS) == NUM_COMBINATIONS
    assert {name for drawn in COMBINATIONS for name in drawn.names} == set(NOISES)
    assert {drawn.language for drawn in COMBINATIONS} == {"numpyro", "pyro"}
    assert {drawn.form if isinstance(drawn.form, str) else "mixed" for drawn in COMBINATIONS} == {*ALL_FORMS, "mixed"}
    assert any(drawn.prior.slab is not None for drawn in COMBINATIONS)
    assert len({drawn.layout.shape for drawn in COMBINATIONS}) > 1


@each_in_turn
def test_density_and_moments(drawn: Combination) -> None:
    """∫ p = 1 − P(w = 0), and E|w|^½, which every noise has, is the product of those of the parts; E w² where there is one."""
    prior = drawn.prior
    t, weight = line(-48.0, 48.0)
    density = 2.0 * np.exp(log_marginal(prior, np.exp(t)) + t)
    rel = _accuracy(drawn)
    assert np.sum(weight * density) == pytest.approx(1.0 - atom(prior), rel=rel)
    root = np.sum(weight * density * np.exp(0.5 * t))
    if prior.slab is None:
        parts = [_mean_root(law) for factor in prior.factors for law in factor.noise.unfolded()]
        assert root == pytest.approx(math.sqrt(prior.base_scale) * math.prod(parts) * _mean_root(noise.HalfNormal()), rel=rel)
    else:
        roots = np.sqrt(np.abs(_scipy_draws(prior, 400_000)))
        assert abs(root - roots.mean()) < 5 * roots.std() / math.sqrt(roots.size)
    sd = effect_sd(prior)
    if math.isfinite(sd):
        assert math.sqrt(np.sum(weight * density * np.exp(2 * t))) == pytest.approx(sd, rel=rel)


@pytest.mark.slow
@each_combination
def test_draws_have_the_law_in_every_form(drawn: Combination) -> None:
    prior, row = drawn.prior, drawn.layout
    outside = _scipy_draws(prior, NUM_CELLS)
    _check_law(drawn, outside)
    for form in {"drawn": drawn.form, **{form: form for form in ALL_FORMS}}.values():
        if drawn.exists(form):
            w = prior_draws(drawn.language, prior, row.shape, form, axes=row.axes, num_cells=NUM_CELLS)
            one = w.reshape(NUM_CELLS, -1)[:, -1]  # of weights that share a noise
            _check_law(drawn, one)
            assert stats.ks_2samp(np.abs(one), np.abs(outside), method="asymp").pvalue > P_VALUE, form
            assert stats.ks_2samp(np.abs(2.0 * one), np.abs(outside), method="asymp").pvalue < P_VALUE, form


@each_in_turn
def test_log_joint_and_shapes_in_both_languages(drawn: Combination) -> None:
    row = drawn.layout

    def model(ppl: Any, x: Any, y: Any = None) -> Any:
        w = ppl.weight("w1", row.shape, drawn.prior, axes=row.axes, parametrization=drawn.form)
        return ppl.sample("y", ppl.dist.Normal(x[0] * w.sum(), 1.0), obs=y)

    structure = check_parity(model, np.array([0.4]), np.array(0.7))
    plan = make_plan(drawn.prior, row.shape, row.axes, drawn.form)
    sites = {f"noise{i}": TYINGS[tying].noise_shape for i, tying in enumerate(drawn.tyings)}
    for label in (factor.label for factor in plan.factors):
        assert structure.latents[f"w1_{label}"] == sites[label]
    assert {**structure.latents, **structure.deterministics}["w1"] == row.shape
    assert len(plan.factors) + (plan.integrated is not None) == sum(NOISES[name].forms != ("marginal",) for name in drawn.names)


def test_an_open_gate_beside_another_noise_keeps_its_atom() -> None:
    """Rayleigh × hard concrete: where the gate is 1, with the probability of row E5, w is Laplace; no mass is lost."""
    gate, t = noise.HardConcrete(0.5), np.log(0.7)
    prior = ScaleMixture(noise.Rayleigh(0.8), gate.per("in"))
    assert gate.scipy().at_one == pytest.approx(0.250002895, rel=1e-8)
    xi, weight = np.polynomial.legendre.leggauss(200)
    xi = 0.5 * (xi + 1.0)
    inside = np.sum(0.5 * weight * gate.scipy().pdf(xi) * stats.laplace.pdf(np.exp(t), scale=0.8 * xi))
    expected = inside + gate.scipy().at_one * stats.laplace.pdf(np.exp(t), scale=0.8)
    assert np.exp(log_marginal(prior, np.exp(t))) == pytest.approx(expected, rel=1e-7)


def _accuracy(drawn: Combination) -> float:
    """What ``log_marginal`` promises."""
    if len(drawn.names) > 1 and "relaxed_bernoulli" in drawn.names:
        return 1e-3
    if drawn.prior.slab is None:
        return 1e-8
    pdf_at_end = [
        law.scipy().pdf(law.scipy().support()[1] * (1 - 1e-9)) for law in drawn.prior.factors[0].noise.unfolded() if not law.discrete
    ]
    return 1e-2 if any(value > 1e-3 for value in pdf_at_end) else 1e-6


def _check_law(drawn: Combination, w: np.ndarray) -> None:
    assert stats.binomtest(int(np.sum(w == 0.0)), w.size, atom(drawn.prior)).pvalue > P_VALUE
    if _accuracy(drawn) <= 1e-6:  # else SciPy's draws are the judge alone
        assert p_value(drawn.prior, w[w != 0.0]) > P_VALUE
        assert p_value(drawn.prior, 2.0 * w[w != 0.0]) < P_VALUE


def _scipy_draws(prior: ScaleMixture, size: int) -> np.ndarray:
    """w = σ₀ s z, or σ₀ s̃ z under a slab, by SciPy's laws of the noises."""
    rng = np.random.default_rng(11)
    s = np.ones(size)
    for factor in prior.factors:
        for law in factor.noise.unfolded():
            s = s * law.scipy().rvs(size=size, random_state=rng)
    if prior.slab is not None:
        c = prior.slab.scipy().rvs(size=size, random_state=rng)
        s = c * s / np.hypot(c, s)
    return prior.base_scale * s * rng.normal(size=size)


def _mean_root(law: noise.Noise) -> float:
    """E|ξ|^½, by SciPy's quadrature of its density over log|ξ|, or as a sum."""
    if isinstance(law, noise.Bernoulli):
        return law.mean_inclusion_prob * math.sqrt(law.high) + (1.0 - law.mean_inclusion_prob) * math.sqrt(law.low)
    if isinstance(law, noise.Constant):
        return math.sqrt(law.value)
    pdf = law.scipy().pdf
    low, high = law.scipy().support()
    ends = [max(-80.0, math.log(max(low, 1e-35))), *np.arange(-60.0, 60.0, 2.0), min(80.0, math.log(high))]
    ends = sorted(end for end in ends if ends[0] <= end <= ends[-1])
    signed = low < 0

    def integrand(t: float) -> float:
        x = math.exp(t)
        return float(pdf(x) + (pdf(-x) if signed else 0.0)) * math.exp(1.5 * t)

    total = math.fsum(integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-10)[0] for a, b in pairwise(ends) if b > a)
    return total + (law.scipy().at_one if isinstance(law, noise.HardConcrete) else 0.0)
