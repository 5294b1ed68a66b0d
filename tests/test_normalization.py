"""Batch normalization in a lifted module, against plain torch: by the batch in training, recalibrated afterwards, refused under MCMC."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from plain_torch import Classifier
from torch import nn
from torch.optim.swa_utils import update_bn

import scalemix as sm
import scalemix.pyro as in_pyro
from scalemix import models
from scalemix.inference import map as map_recipe
from scalemix.inference import nuts, variational_dropout
from scalemix.lifting import batch_statistics

RNG = np.random.default_rng(11)
X = RNG.normal(size=(23, 3)) + 1.0
Y = RNG.integers(0, 2, size=23)
GIVEN = ("net.0.weight", "net.4.weight")


def plain(seed: int = 0) -> nn.Module:
    """In training mode, dropout aside, which draws noise."""
    torch.manual_seed(seed)
    module = Classifier()
    module.net[3].p = 0.0
    return module


def lifted(module: nn.Module) -> Any:
    net = in_pyro.lift(module, {"net.0.weight": sm.LogUniform(), "net.4.weight": sm.LogUniform()})
    return partial(models.lifted, net=net, likelihood="categorical")


def test_in_training_each_batch_is_normalized_by_its_own_statistics() -> None:
    module = plain()
    before = copy.deepcopy(module.state_dict())
    net = in_pyro.lift(module, dict.fromkeys(GIVEN, sm.Normal()))
    given = {name: module.get_parameter(name).detach() for name in GIVEN}
    with batch_statistics(), in_pyro.primitives.Given(given):
        for rows in (slice(0, 8), slice(8, 23)):
            x = torch.as_tensor(X[rows]).float()
            torch.testing.assert_close(net(x), copy.deepcopy(module)(x), rtol=1e-6, atol=1e-6)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_recalibrated_model_has_the_statistics_of_update_bn() -> None:
    module = plain()
    values = {name: RNG.normal(size=tuple(module.get_parameter(name).shape)) for name in GIVEN}
    model = in_pyro.recalibrate(lifted(module), values, X, Y, batch_size=5)
    wanted = copy.deepcopy(module)
    wanted.load_state_dict({name: torch.as_tensor(value) for name, value in values.items()}, strict=False)
    update_bn([torch.as_tensor(X[start : start + 5]).float() for start in range(0, 20, 5)], wanted)
    found = model.keywords["net"].module.module
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(found.net[1], name), getattr(wanted.net[1], name), rtol=1e-5, atol=1e-6)
    assert not found.net[1].training and model.keywords["net"].normalizing == ()
    assert in_pyro.recalibrate(models.mlp, {}, X, Y) is models.mlp


def test_a_fit_of_batches_ends_with_the_statistics_of_them_all() -> None:
    module = plain()
    settings = variational_dropout.Settings(num_epochs=1, num_draws=2, progress=False)
    batches = [(X[:8], Y[:8]), (X[8:16] + 3.0, Y[8:16]), (X[16:], Y[16:])]
    posterior = variational_dropout.fit(in_pyro, lifted(module), batches, num_data=23, seed=0, settings=settings)
    whole = in_pyro.shrink(posterior, "magnitude", fraction=1.0)
    wanted = copy.deepcopy(module)
    wanted.load_state_dict({name: torch.as_tensor(value) for name, value in whole.pruning.means.items()}, strict=False)
    update_bn([torch.as_tensor(x).float() for x, _ in batches], wanted)
    x = torch.as_tensor(X).float()
    torch.testing.assert_close(whole(x), wanted.eval()(x), rtol=1e-5, atol=1e-5)
    used_up = variational_dropout.fit(in_pyro, lifted(module), iter(batches), num_data=23, seed=0, settings=settings)
    assert any("statistics of the first batch" in note for note in used_up.info.notes)


def test_a_fit_ends_frozen_and_shrinks() -> None:
    """Its statistics are those of its medians, which are means, and the shrunk network folds them."""
    module = plain()
    settings = variational_dropout.Settings(num_epochs=3, batch_size=8, num_draws=4, progress=False)
    posterior = variational_dropout.fit(in_pyro, lifted(module), X, Y, seed=0, settings=settings)
    assert all(np.isfinite(each).all() for each in posterior.log_likelihood.values())
    assert torch.equal(module.net[1].running_mean, torch.zeros(4))
    whole = in_pyro.shrink(posterior, "magnitude", fraction=1.0)
    wanted = copy.deepcopy(module)
    wanted.load_state_dict({name: torch.as_tensor(value) for name, value in whole.pruning.means.items()}, strict=False)
    update_bn([torch.as_tensor(X[start : start + 8]).float() for start in (0, 8)], wanted)
    wanted.eval()
    x = torch.as_tensor(X).float()
    torch.testing.assert_close(whole(x), wanted(x), rtol=1e-5, atol=1e-5)
    part = in_pyro.shrink(posterior, "magnitude", fraction=0.5)
    wanted.load_state_dict({name: torch.as_tensor(value) for name, value in part.pruning.means.items()}, strict=False)
    torch.testing.assert_close(part(x), wanted(x), rtol=1e-5, atol=1e-5)
    assert part.report.weight_ratio < 1.0


def test_recipes_of_points_take_it_and_mcmc_refuses_it_unless_it_is_frozen() -> None:
    net = in_pyro.lift(plain(), {"*0.weight": sm.Normal(), "*4.weight": sm.Normal()})
    model = partial(models.lifted, net=net, likelihood="categorical")
    settings = map_recipe.Settings(num_epochs=2, batch_size=8, progress=False)
    assert map_recipe.fit(in_pyro, model, X, Y, seed=0, settings=settings).predict(X[:2], seed=0).mean.shape[1] == 2
    with pytest.raises(ValueError, match=r"BatchNorm1d 'net.1' is in training mode.*call module.eval\(\) before lift"):
        nuts.fit(in_pyro, model, X, Y, seed=0)
    with pytest.raises(ValueError, match=r"BatchNorm1d 'net.1' is in training mode"):
        net(torch.as_tensor(X).float())
