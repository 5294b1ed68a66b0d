"""``scalemix prior``: what it says of a prior is what SciPy says, its figure is written, and bad input ends in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

import scalemix as sm
from scalemix import noise, priors
from scalemix.catalog import describe, equation, named_prior, prior_names
from scalemix.cli import app
from scalemix.prior_figure import plot_prior

pytest.importorskip("matplotlib")


def run(*arguments: str | Path):
    return CliRunner().invoke(app, ["prior", *map(str, arguments)], env={"COLUMNS": "200"})


def refused(result, *words: str) -> None:
    assert result.exit_code == 2
    sentence = result.stderr.strip()
    assert sentence.startswith("Error: ") and "\n" not in sentence
    for word in words:
        assert word in sentence


def test_what_it_says_of_the_laplace_prior():
    result = run("laplace", "scale=0.5")
    assert result.exit_code == 0, result.output
    law, said = stats.laplace(scale=0.5), " ".join(result.output.split())  # lines are wrapped to the terminal
    assert "w ~ Laplace(0, scale)" in said
    assert f"{law.std():.4g}" in said
    for level in (0.5, 0.9, 0.95, 0.99):
        assert f"{law.ppf(0.5 + level / 2):.4g} with {100 * level:g} %" in said
    assert f"{1 - 2 * law.sf(0.1 * law.std()):.4f}" in said
    assert "expanded, hierarchical, marginal" in said


def test_what_it_says_of_other_priors():
    assert "a pole" in describe(named_prior("horseshoe"))["at w = 0"]
    assert describe(named_prior("horseshoe"))["sd of w"] == "infinite"
    spike = describe(named_prior("spike-and-slab", {"inclusion_prob": "0.3"}))
    assert "P(w = 0) = 0.7" in spike["at w = 0"]
    assert "discrete" in spike["parametrizations"]
    assert "marginal;  expanded, hierarchical with a discrete gate" in describe(sm.SpikeAndSlab(0.3, 1.0, 0.05))["parametrizations"]
    assert describe(sm.Normal())["parametrizations"].startswith("one")
    assert "1/s̃² = 1/s² + 1/c²" in describe(named_prior("horseshoe", {"tau0": "0.1", "slab_scale": "2"}))["as a mixture"]


def test_names():
    assert named_prior("student-t", {"df": "4", "scale": "0.5"}) == sm.StudentT(4, 0.5)
    assert named_prior("StudentT", {"df": "4"}) == sm.StudentT(4)
    assert named_prior("noise.half-cauchy", {"scale": "2", "base_scale": "3"}) == sm.ScaleMixture(noise.HalfCauchy(2), base_scale=3)
    resolved = named_prior("horseshoe", {"expected_active": "5", "num_data": "100", "num_weights": "50"})
    assert resolved == sm.Horseshoe(expected_active=5, num_data=100).resolve(50)


def test_every_prior_and_noise_has_a_name_and_an_equation():
    names = prior_names()
    count = sum(name[0].isupper() and not isinstance(getattr(priors, name), type) for name in priors.__all__)
    assert len(names) == count + len(noise.__all__) - 1  # less the base class
    for name, line in names.items():
        assert line and equation(name), name
    result = run()
    assert result.exit_code == 0
    for name in names:
        assert name in result.output


@pytest.mark.parametrize(
    "name", [name for name in prior_names() if "maximized" not in name and name not in ("log-uniform", "noise.bottleneck")]
)
def test_every_prior_and_noise_is_described(name):
    """Each quantile it states is one: the density integrates to it."""
    prior = named_prior(name, {"num_weights": "10"})
    lines = describe(prior)
    assert all(text and "nan" not in text for text in lines.values()), lines
    np.testing.assert_allclose(sm.effect_cdf(prior, sm.effect_quantile(prior, [0.9, 0.99])), [0.9, 0.99], rtol=1e-9)
    kappa = sm.shrinkage_factor(prior, num_draws=4000, seed=0)
    share = float(stats.norm.cdf(1.0 / np.sqrt(1.0 / kappa[kappa < 1] - 1.0)).sum() * 2 - (kappa < 1).sum() + (kappa == 1).sum()) / 4000
    assert share == pytest.approx(float(sm.effect_cdf(prior, 1.0)), abs=4 * 0.5 / np.sqrt(4000))  # E[P(|w| < 1 | s)]


def test_figure_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("spike-and-slab", "inclusion_prob=0.3", "--plot")
    assert result.exit_code == 0, result.output
    assert "spike-and-slab.png" in result.output
    assert (tmp_path / "spike-and-slab.png").read_bytes()[:4] == b"\x89PNG"
    assert run("laplace", "--plot", "--output", tmp_path / "laplace.svg", "--num-data", "10").exit_code == 0
    assert "<svg" in (tmp_path / "laplace.svg").read_text()


def test_figure_draws_what_it_says():
    figure = plot_prior({"Laplace": sm.Laplace(0.5), "gate": sm.SpikeAndSlab(0.3)}, num_data=10)
    density, tail, factors, atoms = figure.axes
    curves = {line.get_color(): line.get_xydata() for line in density.lines if line.get_linestyle() == "-"}
    x, y = np.asarray(curves["#0072B2"]).T
    np.testing.assert_allclose(y, stats.laplace(scale=0.5).pdf(x), rtol=1e-9)
    survival = np.asarray(next(line for line in tail.lines if line.get_color() == "#0072B2").get_xydata())
    np.testing.assert_allclose(survival[:, 1], np.exp(-survival[:, 0] / 0.5), atol=1e-12)
    assert atoms.lines[-1].get_ydata() == pytest.approx([0.7])
    shares = factors.patches[1].get_data().values
    assert shares[-1] == pytest.approx(0.7, abs=0.005) and shares[int(40 / 11)] == pytest.approx(0.3, abs=0.005)
    with pytest.raises(ValueError, match="1 to 6 priors"):
        plot_prior({str(i): sm.Laplace() for i in range(7)})


def test_help_teaches():
    result = run("--help")
    assert result.exit_code == 0
    for word in ("shrinkage factor", "Examples", "scalemix prior laplace scale=0.5", "--plot", "--output", "KEY=VALUE"):
        assert word in result.output


def test_bad_arguments(tmp_path):
    refused(run("lasso"), "'lasso'", "laplace", "noise.rayleigh")
    refused(run("laplace", "df=3"), "no setting 'df'", "scale")
    refused(run("laplace", "scale=wide open"), "scale=wide open", "number")
    refused(run("laplace", "scale=-1"), "above 0")
    refused(run("laplace", "3"), "'3'", "KEY=VALUE")
    refused(run("horseshoe", "expected_active=5", "num_data=100"), "num_weights=")
    refused(run("laplace", "--output", tmp_path / "x.png"), "--plot")
    refused(run("laplace", "--num-data", "10"), "--num-data", "--plot")
    refused(run("laplace", "--plot", "--output", tmp_path / "x.docx"), "x.docx")
    refused(run("laplace", "--plot", "--output", tmp_path / "none" / "x.png"), "cannot draw")
