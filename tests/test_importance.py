"""Scores of features and their selection: what is kept is what made the data, and no fit sees the rows it is judged by."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

import scalemix as sm
import scalemix.numpyro as in_numpyro
from scalemix.compress import feature_importance, feature_scores, select_features
from scalemix.inference import enumeration, spike_slab
from scalemix.likelihoods import Gaussian
from scalemix.models import linear, mlp

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 5))
Y = 2.0 * X[:, 1] - 1.5 * X[:, 3] + 0.3 * RNG.normal(size=60)
GATED = partial(linear, prior=sm.SpikeAndSlab(0.4, 1.0), bias_prior=None, likelihood=Gaussian(scale=0.3), parametrization="expanded")
BRIEF = enumeration.Settings(num_draws=400, progress=False)


def fitted(x: np.ndarray, y: np.ndarray) -> Any:
    return enumeration.fit(in_numpyro, GATED, x, y, seed=0, settings=BRIEF)


def test_of_one_layer_the_score_is_the_inclusion_probability() -> None:
    posterior = fitted(X, Y)
    psi, phi = feature_importance(posterior)
    np.testing.assert_allclose(psi, posterior.draws["w1_noise"].mean(axis=(0, 1)))
    np.testing.assert_allclose(phi, (psi - psi.min()) / (psi.max() - psi.min()))
    assert set(np.argsort(-phi)[:2]) == {1, 3}


def test_what_made_the_data_is_kept_and_no_fit_sees_the_rows_it_is_judged_by() -> None:
    seen: list[np.ndarray] = []

    def recorded(x: np.ndarray, y: np.ndarray) -> Any:
        seen.append(y)
        return fitted(x, y)

    frame = pd.DataFrame(X, columns=pd.Index(["a", "b", "c", "d", "e"]))
    found = select_features(recorded, frame, Y, fractions=(0.2, 0.4), num_folds=2)
    assert found.fraction == 0.4
    assert [found.names[k] for k in found.kept] == ["b", "d"]
    assert found.posterior.draws["w1"].shape[-1] == 2
    assert found.errors.shape == (2, 2)
    assert found.errors[:, 0].min() > 5 * found.errors[:, 1].max()  # without one of the two: 2² or 1.5² and not 0.3²
    assert [len(y) for y in seen] == [*[30] * 6, 60, 60]
    held = [set(Y) - set(y) for y in seen[:6]]
    assert held[0] == held[1] == held[2] and not held[0] & held[3] and held[0] | held[3] == set(Y)
    left, right = found.plot().axes
    assert [label.get_text() for label in left.get_yticklabels()[:2]] == [found.names[k] for k in np.argsort(-found.phi)[:2]]
    assert right.lines[0].get_xdata().tolist() == [20.0, 40.0]


@pytest.mark.slow
def test_of_a_network() -> None:
    """Saha, Liu and Liang (2024), section 5.3, small: four of 20 columns matter, two of them through functions that are not linear."""
    x = RNG.normal(size=(300, 20))
    y = 2.0 * np.tanh(x[:, 1]) - 1.5 * x[:, 5] + np.tanh(2.0 * x[:, 8]) + x[:, 14] + 0.3 * RNG.normal(size=300)
    network = partial(mlp, prior=sm.SpikeAndSlab(0.2, 1.0, 0.05), widths=(10,), scale_by_fan_in=False)
    brief = spike_slab.Settings(num_epochs=1000, learning_rate=0.01, num_draws=20, progress=False)

    def fit(x: np.ndarray, y: np.ndarray) -> Any:
        return spike_slab.fit(in_numpyro, network, x, y / 2.5, seed=0, settings=brief)

    found = select_features(fit, x, y, fractions=(0.1, 0.3, 1.0), num_folds=2)
    assert set(np.argsort(-found.phi)[:4]) == {1, 5, 8, 14}
    assert set(found.kept) >= {1, 5, 8, 14}
    assert found.errors[:, 0].min() > found.errors[:, 1].max()


REFUSED = {
    "fractions": (r"fractions=\(0.0, 0.5\)\): give numbers above 0", lambda: select_features(fitted, X, Y, fractions=(0.0, 0.5))),
    "one_fold": ("num_folds=1", lambda: select_features(fitted, X, Y, num_folds=1)),
    "rows": (r"x of shape \(60, 5\) and y of shape \(3,\)", lambda: select_features(fitted, X, Y[:3])),
    "no_matrix": (r"layers of the shapes \(2,\): give matrices", lambda: feature_scores([np.array([0.5, 0.2])])),
    "three_axes": ("give matrices", lambda: feature_scores([np.ones((2, 3, 4))])),
    "no_inputs": ("give matrices", lambda: feature_scores([np.ones((0, 3))])),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    message, call = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
