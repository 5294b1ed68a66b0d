"""A posterior that cannot be read, written or predicted from says so in one sentence, and a file is whole or not there."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scalemix.pyro as in_pyro
from scalemix.inference import mean_field
from scalemix.models import linear
from scalemix.posterior import Posterior
from scalemix.priors import Laplace, StudentT

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=6)
BRIEF = mean_field.Settings(num_steps=3, num_draws=4, progress=False)


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return mean_field.fit(in_pyro, partial(linear, prior=Laplace(), parametrization="marginal"), X, Y, seed=0, settings=BRIEF)


def test_one_row_and_one_column_fit() -> None:
    found = mean_field.fit(in_pyro, partial(linear, prior=StudentT()), X[:1, :1], Y[:1], seed=0, settings=BRIEF)
    assert found.draws["w1"].shape == (1, 4, 1)
    assert np.all(np.isfinite(found.log_joint))


def test_predicting_without_a_model_or_with_an_unknown_noise(posterior: Posterior, tmp_path: Path) -> None:
    loaded = Posterior.load(posterior.save(tmp_path / "fit.nc"))
    with pytest.raises(ValueError, match=r"no model.*Posterior.load\(path, model=...\)"):
        loaded.predict(X, seed=0)
    with pytest.raises(ValueError, match=r"no model.*model="):
        loaded.pointwise_log_likelihood(X, Y)
    with pytest.raises(ValueError, match=r"noise='none'.*'posterior'.*'mean'"):
        posterior.predict(X, seed=0, noise="none")
    with pytest.raises(ValueError, match=r"noise='prior'.*parametrization='expanded'"):
        posterior.predict(X, seed=0, noise="prior")


def test_loading_what_is_no_posterior(posterior: Posterior, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file.*missing.nc.*Posterior.save"):
        Posterior.load(tmp_path / "missing.nc")
    garbage = tmp_path / "garbage.nc"
    garbage.write_bytes(b"not a netCDF file")
    with pytest.raises(ValueError, match=r"garbage.nc.*not a posterior.*another file"):
        Posterior.load(garbage)
    whole = posterior.save(tmp_path / "fit.nc").read_bytes()
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.nc.*damaged.*fit again"):
        Posterior.load(cut)


def test_saving_where_nothing_can_be_written(posterior: Posterior, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        posterior.save(tmp_path / "nowhere" / "fit.nc")
    assert list(tmp_path.iterdir()) == []
    taken = tmp_path / "taken.nc"
    taken.mkdir()
    with pytest.raises(OSError, match="taken"):
        posterior.save(taken)
    assert list(tmp_path.iterdir()) == [taken]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if not os.access(closed, os.W_OK):  # root writes everywhere
        with pytest.raises(OSError, match="closed"):
            posterior.save(closed / "fit.nc")
        assert list(closed.iterdir()) == []


def test_a_failed_save_keeps_what_was_there(posterior: Posterior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = posterior.save(tmp_path / "fit.nc")
    before = path.read_bytes()

    def fails(*_: Any) -> None:
        raise OSError("no space left on the device")

    monkeypatch.setattr(os, "replace", fails)
    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="no space"):
        posterior.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
