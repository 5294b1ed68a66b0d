"""Every model of the registry on a GPU, in both languages: one step of SVI, and twenty iterations of NUTS.

make test-gpu                        # needs a machine with a GPU, and says so elsewhere
make test-gpu ARGS="--device cpu"    # the same on the CPU
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from registry import MODELS, ONE_PRIOR, PRIORS, Case

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix.inference import nuts, svi

LANGUAGES = {"numpyro": in_numpyro, "pyro": in_pyro}
CONTINUOUS = {"stochastic_depth": "ard_add"}  # what stands in for a prior in whose gates no gradient moves


def case_of(model: str) -> Case:
    prior = ONE_PRIOR.get(model, "laplace")
    prior = CONTINUOUS.get(prior, prior)
    return Case(model, prior, PRIORS[prior].forms[0])


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def device(request: pytest.FixtureRequest, language: str) -> str:
    wanted = request.config.getoption("--device")
    if wanted == "gpu" and not LANGUAGES[language].engine.has_gpu():
        pytest.skip(f"{language} finds no GPU here: run on a machine that has one, or with --device cpu")
    return wanted


def memory_in_use(language: str) -> int:
    """Most bytes that the GPU ever held for the language."""
    if language == "pyro":
        import torch

        return torch.cuda.max_memory_allocated()
    import jax

    return jax.devices("gpu")[0].memory_stats()["peak_bytes_in_use"]


def check(posterior: sm.Posterior, language: str, device: str) -> None:
    assert posterior.info.settings["device"] == device
    assert np.isfinite(posterior.log_joint).all()
    assert all(np.isfinite(np.asarray(value, float)).all() for value in posterior.draws.values())
    if device == "gpu":
        assert memory_in_use(language) > 0


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_svi(model: str, language: str, device: str) -> None:
    ppl: Any = LANGUAGES[language]
    case = case_of(model)
    settings = svi.Settings(num_steps=1, num_draws=4, device=device, progress=False)
    posterior = svi.fit(ppl, case.model, *case.row.data(), guide=ppl.autoguide.AutoNormal, seed=0, settings=settings)
    assert posterior.losses is not None
    assert posterior.losses.shape == (1,)
    check(posterior, language, device)


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_twenty_iterations_of_nuts(model: str, language: str, device: str) -> None:
    case = case_of(model)
    settings = nuts.Settings(num_warmup=10, num_draws=10, num_chains=1, max_tree_depth=3, device=device, progress=False)
    posterior = nuts.fit(LANGUAGES[language], case.model, *case.row.data(), seed=0, settings=settings)
    assert posterior.log_joint.shape == (1, 10)
    assert np.ptp(posterior.log_joint) > 0
    check(posterior, language, device)
