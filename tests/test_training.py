"""The training engine of both languages against problems whose answers are known without it."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np
import pytest
from trained import elbo_optimum, full_batch_loss, make_data, regression

from scalemix.training import Settings
from scalemix.training.schedules import kl_weight, rates

X, Y = make_data()
quiet = partial(Settings, progress=False, dtype="float64")


@pytest.fixture(params=["numpyro", "pyro"], scope="module")
def language(request: pytest.FixtureRequest) -> str:
    return request.param


def train(language: str, data: Any, settings: Settings, *, make: Any = regression, seed: int = 0, **options: Any) -> Any:
    """The engine on the objective ``make(language)``, which is made in the precision in force."""
    engine = importlib.import_module(f"scalemix.{language}").engine
    with engine.precision(settings.dtype, "cpu"):
        return engine.train(make(language), data, settings, seed=seed, **options)


# --- what is optimized ----------------------------------------------------------------------------------------------------------


def test_the_optimum_of_a_known_elbo_is_reached(language: str) -> None:
    loc, log_variance = elbo_optimum(X, Y)
    settings = quiet(num_epochs=300, learning_rate=0.06, noise_learning_rate=0.2, schedule="cosine")
    run = train(language, (X, Y), settings)
    np.testing.assert_allclose(run.params["w_loc"], loc, atol=1e-3)
    np.testing.assert_allclose(run.params["w_log_variance"], log_variance, atol=1e-3)
    best = full_batch_loss(loc, log_variance, X, Y)
    np.testing.assert_allclose([run.history["nll"][-1], run.history["kl"][-1]], best, rtol=1e-4)
    assert run.history["loss"].shape == (300,) and run.stopped == "all 300 epochs are done"


@pytest.mark.parametrize(("batch_size", "last_batch"), [(None, "drop"), (20, "drop"), (16, "smaller")])
def test_the_minibatch_objective_averaged_over_an_epoch_is_the_full_batch_one(language: str, batch_size: int, last_batch: str) -> None:
    # A rate this small leaves the parameters where they are, to 1e-11.
    settings = quiet(num_epochs=2, batch_size=batch_size, last_batch=last_batch, learning_rate=1e-12, kl_weight=0.5)
    run = train(language, (X, Y), settings)
    nll, kl = full_batch_loss(np.zeros(3), np.full(3, -3.0), X, Y)
    np.testing.assert_allclose(run.history["nll"], nll, rtol=1e-9)
    np.testing.assert_allclose(run.history["kl"], kl, rtol=1e-9)
    np.testing.assert_allclose(run.history["loss"], nll + 0.5 * kl, rtol=1e-9)


def test_rows_are_shuffled_anew_in_each_epoch_and_used_once(language: str) -> None:
    rows = np.arange(12.0)[:, None]

    def make(language: str) -> Any:
        objective = regression(language, 1)
        plain = objective.loss

        def spy(params: Any, batch: tuple, *others: Any) -> Any:
            loss, parts = plain(params, (0.0 * batch[0], 0.0 * batch[1]), *others)
            y = batch[1]
            return loss, parts | {"nll": y.sum(), "kl": y[0] + 100 * y[1] + 10000 * y[2]}  # what a batch holds, in the history

        objective.loss = spy
        return objective

    settings = quiet(num_epochs=4, batch_size=3, learning_rate=1e-12)
    run = train(language, (rows, rows[:, 0]), settings, make=make)
    np.testing.assert_allclose(run.history["nll"] * 4, rows.sum())  # four batches that hold each row once
    first, *others = run.history["kl"] * 4
    assert all(abs(each - first) > 0.5 for each in others)
    assert abs(first - 10101 * rows.sum() / 3) > 0.5 and len(np.unique(np.round(run.history["kl"], 6))) > 2


def test_several_particles_are_averaged(language: str) -> None:
    settings = quiet(num_epochs=1, batch_size=None, learning_rate=1e-12, num_particles=400)
    nll, kl = full_batch_loss(np.zeros(3), np.full(3, -3.0), X, Y)
    run = train(language, (X, Y), settings, make=partial(regression, sampled=True))
    # Var of Σᵢ (yᵢ − xᵢ·w)²/(2s²) over w ~ N(0, e⁻³ I), by 4000 draws outside of the engine.
    draws = np.exp(-1.5) * np.random.default_rng(0).normal(size=(4000, 3))
    spread = np.std(0.5 * ((Y[:, None] - X @ draws.T) ** 2).sum(axis=0) / 0.25)
    assert abs(run.history["nll"][0] - nll) < 5 * spread / np.sqrt(400)
    np.testing.assert_allclose(run.history["kl"], kl, rtol=1e-9)


def test_both_languages_take_the_same_steps() -> None:
    settings = quiet(
        num_epochs=6, learning_rate=0.05, noise_learning_rate=0.2, schedule="linear", hold=0.3, clip_norm=20.0, kl_schedule=(1, 3)
    )
    ours, theirs = (train(language, (X, Y), settings) for language in ("numpyro", "pyro"))
    for name in ours.params:
        np.testing.assert_allclose(ours.params[name], theirs.params[name], rtol=1e-9)
    for name in ours.history:
        np.testing.assert_allclose(ours.history[name], theirs.history[name], rtol=1e-9)


# --- steps by hand --------------------------------------------------------------------------------------------------------------


def gradients(loc: np.ndarray, log_variance: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Of nll + weight · KL, by hand."""
    variance = np.exp(log_variance)
    by_loc = -X.T @ (Y - X @ loc) / 0.25 + weight * loc / 4
    by_log_variance = 0.5 * variance * (X**2).sum(axis=0) / 0.25 + weight * 0.5 * (variance / 4 - 1)
    return by_loc, by_log_variance


def test_gradient_steps_with_rates_weights_and_clipping_are_those_by_hand(language: str) -> None:
    settings = quiet(
        num_epochs=8,
        optimizer="sgd",
        learning_rate=0.01,
        noise_learning_rate=0.03,
        schedule="exponential",
        decay=0.1,
        hold=0.25,
        kl_schedule=(2, 6),
        kl_weight=0.5,
        clip_norm=5.0,
    )
    run = train(language, (X, Y), settings)
    loc, log_variance = np.zeros(3), np.full(3, -3.0)
    for epoch in range(8):
        factor = 0.1 ** (max(epoch - 2, 0) / 6)
        both = gradients(loc, log_variance, 0.5 * min(max(epoch - 2, 0) / 4, 1.0))
        shrink = min(1.0, 5.0 / np.sqrt(sum((each**2).sum() for each in both)))
        loc, log_variance = loc - 0.01 * factor * shrink * both[0], log_variance - 0.03 * factor * shrink * both[1]
    np.testing.assert_allclose(run.params["w_loc"], loc, rtol=1e-6)  # torch adds 1e-6 to the norm it divides by
    np.testing.assert_allclose(run.params["w_log_variance"], log_variance, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "epochs", "expected"),
    [
        ({"schedule": "constant"}, (0, 5, 10), (1.0, 1.0, 1.0)),
        ({"schedule": "linear"}, (0, 2.5, 10), (1.0, 0.75, 0.0)),
        ({"schedule": "linear", "decay": 0.2, "hold": 0.5}, (4, 7.5, 10), (1.0, 0.6, 0.2)),
        ({"schedule": "cosine"}, (0, 10 / 3, 5, 10), (1.0, 0.75, 0.5, 0.0)),
        ({"schedule": "exponential", "decay": 1e-4}, (0, 2.5, 5, 10), (1.0, 0.1, 0.01, 1e-4)),
        ({"schedule": "exponential"}, (10,), (0.01,)),
    ],
)
def test_schedules_against_numbers_by_hand(options: dict[str, Any], epochs: tuple, expected: tuple) -> None:
    settings = quiet(num_epochs=10, learning_rate=0.5, noise_learning_rate=2.0, **options)
    for at, factor in zip(epochs, expected, strict=True):
        assert rates(settings, at) == pytest.approx((0.5 * factor, 2.0 * factor), abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [(None, (0, 9), (2.0, 2.0)), ((2, 6), (1, 3, 6, 9), (0.0, 0.5, 2.0, 2.0)), ((3, 3), (2.9, 3.0), (0.0, 2.0))],
)
def test_the_weight_of_the_kl_against_numbers_by_hand(schedule: Any, epochs: tuple, expected: tuple) -> None:
    settings = quiet(num_epochs=10, kl_schedule=schedule, kl_weight=2.0)
    assert [float(kl_weight(settings, at)) for at in epochs] == pytest.approx(expected)


def test_an_optimizer_of_the_language_is_taken(language: str) -> None:
    if language == "numpyro":
        import optax

        make = partial(optax.sgd, momentum=0.9)
    else:
        import torch

        make = partial(torch.optim.SGD, momentum=0.9)
    run = train(language, (X, Y), quiet(num_epochs=3, optimizer=make, learning_rate=1e-3))
    loc, log_variance = np.zeros(3), np.full(3, -3.0)
    speed = [np.zeros(3), np.zeros(3)]
    for _ in range(3):
        speed = [0.9 * before + now for before, now in zip(speed, gradients(loc, log_variance, 1.0), strict=True)]
        loc, log_variance = loc - 1e-3 * speed[0], log_variance - 1e-3 * speed[1]
    np.testing.assert_allclose(run.params["w_loc"], loc, rtol=1e-9)
    np.testing.assert_allclose(run.params["w_log_variance"], log_variance, rtol=1e-9)


def test_an_objective_may_project_its_parameters(language: str) -> None:
    def make(language: str) -> Any:
        objective = regression(language)
        objective.project = lambda params: params | {"w_loc": params["w_loc"] * 0.0}
        return objective

    run = train(language, (X, Y), quiet(num_epochs=3), make=make)
    assert (run.params["w_loc"] == 0).all() and (run.params["w_log_variance"] != -3).all()


# --- data -----------------------------------------------------------------------------------------------------------------------


class Loader:
    """Batches of 20 rows, shuffled by the number of the epoch, as a user's loader without a length would bring them."""

    def __call__(self, epoch: int) -> Any:
        order = np.random.default_rng(epoch).permutation(60)
        return ([X[rows], Y[rows]] for rows in order.reshape(3, 20))


def test_batches_of_an_iterable_are_steps(language: str) -> None:
    batches = [(X[rows], Y[rows]) for rows in np.arange(60).reshape(3, 20)]
    settings = quiet(num_epochs=2, optimizer="sgd", learning_rate=1e-3, schedule="linear")
    run = train(language, batches, settings, num_data=60)
    loc, log_variance = np.zeros(3), np.full(3, -3.0)
    for step in range(6):
        x, y = batches[step % 3]
        rate, variance = 1e-3 * (1 - step / 6), np.exp(log_variance)
        by_loc = -3 * x.T @ (y - x @ loc) / 0.25 + loc / 4
        by_log_variance = 3 * 0.5 * variance * (x**2).sum(axis=0) / 0.25 + 0.5 * (variance / 4 - 1)
        loc, log_variance = loc - rate * by_loc, log_variance - rate * by_log_variance
    np.testing.assert_allclose(run.params["w_loc"], loc, rtol=1e-9)
    np.testing.assert_allclose(run.params["w_log_variance"], log_variance, rtol=1e-9)


def test_batches_without_a_length_that_change_with_the_epoch(language: str) -> None:
    run = train(language, Loader(), quiet(num_epochs=3, learning_rate=1e-12), num_data=60)
    nll, _ = full_batch_loss(np.zeros(3), np.full(3, -3.0), X, Y)
    np.testing.assert_allclose(run.history["nll"], nll, rtol=1e-9)


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(language: str) -> None:
    settings = quiet(num_epochs=3, batch_size=16)
    first, again, other = (train(language, (X, Y), settings, make=partial(regression, sampled=True), seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first.params[name], again.params[name]) for name in first.params)
    assert not np.array_equal(first.params["w_loc"], other.params["w_loc"])


def test_the_first_values_are_left_alone(language: str) -> None:
    objective = regression(language)
    train(language, (X, Y), Settings(num_epochs=2, learning_rate=0.5, progress=False), make=lambda _: objective)
    assert float(abs(objective.params["w_loc"]).sum()) == 0.0


# --- stopping -------------------------------------------------------------------------------------------------------------------


def test_training_stops_on_a_validation_score_and_returns_the_best_parameters(language: str) -> None:
    scores = iter([9.0, 5.0, 3.0, 4.0, 3.5, 3.0, 1.0])
    kept: list[Any] = []

    def validation(params: dict[str, Any]) -> float:
        kept.append(np.asarray(params["w_loc"]).copy())
        return next(scores)

    settings = quiet(num_epochs=50, patience=3, check_every=2)
    run = train(language, (X, Y), settings, validation=validation)
    assert len(run.history["loss"]) == 12 and "3, that of epoch 6, in 3 looks" in run.stopped
    np.testing.assert_array_equal(run.params["w_loc"], kept[2])
    np.testing.assert_array_equal(run.history["validation"][1::2], [9.0, 5.0, 3.0, 4.0, 3.5, 3.0])
    assert np.isnan(run.history["validation"][::2]).all()


def test_training_stops_when_the_loss_no_longer_falls_and_not_while_the_kl_grows(language: str) -> None:
    settings = quiet(num_epochs=400, learning_rate=0.05, elbo_window=5, kl_schedule=(0, 30), min_improvement=0.5)
    run = train(language, (X, Y), settings)
    losses, epochs = run.history["loss"], len(run.history["loss"])
    assert 40 <= epochs < 400 and "mean loss of the last 5 epochs" in run.stopped
    assert not losses[-5:].mean() < losses[-10:-5].mean() - 0.5
    assert epochs == 40 or losses[-6:-1].mean() < losses[-11:-6].mean() - 0.5


def test_callbacks_see_each_epoch(language: str) -> None:
    seen: list[tuple[int, float, float]] = []

    def callback(epoch: int, record: dict[str, Any]) -> None:
        seen.append((epoch, record["loss"], float(abs(record["params"]["w_loc"]).sum())))

    run = train(language, (X, Y), quiet(num_epochs=4, batch_size=20), callbacks=[callback])
    assert [epoch for epoch, *_ in seen] == [0, 1, 2, 3]
    assert [loss for _, loss, _ in seen] == list(run.history["loss"])
    assert len({size for *_, size in seen}) == 4


def test_progress_shows_the_loss_and_the_speed(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    train(language, (X, Y), Settings(num_epochs=40, dtype="float64"))
    shown = capsys.readouterr().err
    assert "training" in shown and "step/s" in shown and "/40, loss" in shown
