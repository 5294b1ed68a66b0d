"""Posterior: the draws of one fit as NumPy arrays, with all that is needed to predict, to judge, to save and to hand to ArviZ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.cases import first_array, plain_data
from scalemix.language import PPL, Structure, kitchens
from scalemix.variational_scope import variational_scope

__all__ = ["Info", "Posterior", "Prediction"]

CHUNK = 1000
NOISE_MODES = ("posterior", "prior", "mean")


@dataclass
class Info:
    """What was fitted, how, and how long it took. Everything in it goes into JSON.

    ``notes`` are sentences about the run, e.g. why its chains ran as they did; ``dropped`` are latent sites that were not kept; ``proper``
    is False where the prior has no law to draw from (``sm.LogUniform()``).
    """

    backend: str
    method: str
    prior: str
    parametrization: str
    seed: int
    settings: dict[str, Any]
    chain_method: str = ""
    seconds_compile: float = float("nan")
    seconds_run: float = float("nan")
    notes: list[str] = field(default_factory=list)
    proper: bool = True
    dropped: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Prediction:
    """Predictive law of y at n inputs, in the units the model was given.

    Attributes:
        draws: (S, n) draws of y from the posterior predictive.
        mean: (n,) E[y]; (n, K) class probabilities for a categorical y.
        aleatoric: E[Var(y | θ)], the part of the variance that more data would not remove.
        epistemic: Var(E[y | θ]), the part that they would.
    """

    draws: np.ndarray
    mean: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray


@dataclass
class Posterior:
    """Draws of one fit.

    Attributes:
        draws: every sampled site and every deterministic one, (chain, draw, *event). VI draws are one chain.
        latents: names of the sampled sites among them.
        info: what was fitted, how, and how long it took.
        sample_stats: sampler statistics (chain, draw) under ArviZ's names; empty for VI.
        log_joint: (chain, draw) log p(θ, y) on the constrained space, nats.
        log_guide: (chain, draw) log q(θ) of a variational fit, else ``None``.
        log_likelihood: per observed site, (chain, draw, n) log p(yᵢ | θ).
        losses: (steps,) negative ELBO of each step of a variational fit, nats.
        dims, coords: names of the event dimensions of each site, and their labels.
        observed, constant: the data.
        identified: the quantities by which convergence is judged, (chain, draw, *event), where these are not all the sites: of a network,
            whose hidden units permute (``scalemix.identified``); empty otherwise.
        params: what a variational fit with one of ``scalemix.guides`` optimized, on the real line.
        guide: that guide; of a posterior that was loaded ``None`` where it draws noises from their priors.
        prior_draws, predictive_draws: filled by ``complete()``, which needs the model.
        model, data: what was fitted, and to what; a posterior that was loaded has the model it was given.
    """

    draws: dict[str, np.ndarray]
    latents: tuple[str, ...]
    info: Info
    log_joint: np.ndarray
    log_likelihood: dict[str, np.ndarray]
    sample_stats: dict[str, np.ndarray] = field(default_factory=dict)
    log_guide: np.ndarray | None = None
    losses: np.ndarray | None = None
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    coords: dict[str, list] = field(default_factory=dict)
    observed: dict[str, np.ndarray] = field(default_factory=dict)
    constant: dict[str, np.ndarray] = field(default_factory=dict)
    identified: dict[str, np.ndarray] = field(default_factory=dict)
    prior_draws: dict[str, np.ndarray] = field(default_factory=dict)
    predictive_draws: dict[str, np.ndarray] = field(default_factory=dict)
    params: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    guide: Any = field(default=None, repr=False)
    model: Callable[..., Any] | None = field(default=None, repr=False)
    data: tuple = field(default=(), repr=False)

    def predict(self, *inputs: Any, seed: int, noise: str = "posterior", chunk: int = CHUNK) -> Prediction:
        """Predictive law of y at new inputs, ``chunk`` draws at a time.

        Args:
            inputs: what the model takes before y, in its order.
            seed: of the draws.
            noise: "posterior" uses the posterior of the noise ξ, as Bayes' rule does; "prior" draws ξ anew, which is what MC dropout
                predicts with; "mean" puts ξ at its prior mean, which is what dropout networks do at test time. Where the noise of each
                row has a fitted law that is the same for all rows (VIBNet's gates), "posterior" and "mean" are of that law.
            chunk: draws at a time (memory).

        Raises: ValueError if the posterior was loaded without its model, the fit has no noise to redraw, or its noise belongs to the rows
            it was fitted to (noise_plate="example") and these are others.
        """
        ppl, model = self._language()
        inputs = plain_data(inputs)
        with self._precision(ppl):
            draws = self._draws_at(ppl, model, inputs, noise, seed)
            site = next(iter(self.log_likelihood))
            law = ppl.engine.predict(model, inputs, draws, site=site, seed=seed, chunk=min(chunk, self.num_draws))
        return Prediction(law.draws, law.mean.mean(0), law.variance.mean(0), law.mean.var(0))

    def pointwise_log_likelihood(
        self, *data: Any, noise: str = "posterior", seed: int | None = None, chunk: int = CHUNK
    ) -> dict[str, np.ndarray]:
        """log p(yᵢ | θ) of any data at every draw: per observed site (chain, draw, n).

        Args:
            data: what the fit was given, e.g. x, y, for these or other cases.
            noise: as for ``predict``.
            seed: of noises drawn anew; ``None``: that of the fit.
            chunk: draws at a time (memory).

        Raises: ValueError as ``predict``.
        """
        ppl, model = self._language()
        data, seed = plain_data(data), self.info.seed if seed is None else seed
        with self._precision(ppl):
            draws = self._draws_at(ppl, model, data[:-1], noise, seed) if len(data) > 1 else self._flat_latents()
            evaluation = ppl.engine.evaluate(model, data, draws, chunk=min(chunk, self.num_draws))
        return {name: self._chained(value) for name, value in evaluation.log_likelihood.items()}

    def complete(self, *, num_prior_draws: int = 500) -> Posterior:
        """Draw the prior (``num_prior_draws``) and the posterior predictive, at the fit's own inputs, if not done yet; returns itself."""
        if self.model is not None and not self.predictive_draws and len(self.data) > 1:
            ppl, model = self._language()
            with self._precision(ppl):
                inputs = self.data[:-1]
                prior = ppl.engine.sample_prior(model, inputs, num_draws=num_prior_draws, seed=self.info.seed) if self.info.proper else {}
            self.prior_draws = {name: value[None] for name, value in prior.items() if name in self.draws}
            prediction = self.predict(*inputs, seed=self.info.seed)
            self.predictive_draws = {next(iter(self.log_likelihood)): self._chained(prediction.draws)}
        return self

    def to_arviz(self) -> Any:
        """ArviZ's own object (``InferenceData``, or a ``DataTree`` from ArviZ 1.0 on) with the groups posterior, sample_stats,
        log_likelihood, posterior_predictive, prior, observed_data and constant_data; dims carry the axis names."""
        from scalemix.arviz_groups import to_arviz

        return to_arviz(self.complete())

    def save(self, path: str | Path) -> Path:
        """Write the netCDF file ``path``, which ArviZ opens and :meth:`load` reads; written beside and renamed, so never half there."""
        from scalemix.arviz_groups import save

        return save(self.complete(), Path(path))

    @classmethod
    def load(cls, path: str | Path, model: Callable[..., Any] | None = None) -> Posterior:
        """Read the file ``path`` that ``save`` wrote, or the draws in the folder of a run, finished or not; ``model``, to predict from it.

        The language of the model has to be imported. A finished run's arrays stay on the disk until they are looked at.

        Raises: ValueError with one sentence if the file or folder is missing, damaged, or not a scalemix posterior.
        """
        from scalemix.arviz_groups import load
        from scalemix.run_folder import load_folder

        path = Path(path)
        posterior = load_folder(path) if path.is_dir() else load(path)
        posterior.model = model
        return posterior

    def structure(self) -> Structure:
        """The sites of the model at the data of the fit.

        Raises: ValueError if the posterior was loaded without its model or its data.
        """
        ppl, model = self._language()
        if not self.data:
            raise ValueError("this posterior was loaded without its data: fit the model again to look at its sites")
        with variational_scope(placeholders=True), self._precision(ppl):
            return ppl.engine.structure(model, self.data, seed=self.info.seed)

    @property
    def is_variational(self) -> bool:
        """The draws are of a guide that was fitted, and not of a sampler."""
        return self.losses is not None or self.log_guide is not None

    @property
    def num_draws(self) -> int:
        """Draws over all chains."""
        return self.log_joint.size

    def _language(self) -> tuple[PPL, Callable[..., Any]]:
        if self.model is None:
            raise ValueError("this posterior has no model to predict with: load it with Posterior.load(path, model=...)")
        if self.info.backend not in kitchens:
            raise ValueError(f"this posterior was fitted with {self.info.backend}: import scalemix.{self.info.backend} before predicting")
        return kitchens[self.info.backend], self.model

    def _precision(self, ppl: PPL) -> Any:
        device = "gpu" if self.info.settings["device"] == "gpu" and ppl.engine.has_gpu() else "cpu"  # a fit may move to another machine
        return ppl.engine.precision(self.info.settings["dtype"], device)

    @property
    def noise_of_new_rows(self) -> str:
        """What ``noise=`` has to be at other rows: "prior" where each row of the fit drew noises of its own, else "posterior"."""
        anew = () if self.guide is None else self.guide.anew
        return "prior" if any(self._by_row(name) for name in self.latents if name not in anew) else "posterior"

    def _by_row(self, site: str) -> bool:
        """It has a row for each case of the fit."""
        return any(dim.endswith("_case") for dim in self.dims.get(site, ())[:1])

    def _draws_at(self, ppl: PPL, model: Callable[..., Any], inputs: tuple, noise: str, seed: int) -> dict[str, np.ndarray]:
        """Draws of the latent sites, with the noise that belongs to the rows of ``inputs``."""
        if noise not in NOISE_MODES:
            raise ValueError(f"noise={noise!r}: give one of {', '.join(map(repr, NOISE_MODES))}")
        draws = self._flat_latents()
        if self.guide is not None and self.guide.anew and noise != "prior":
            return self._with_gates(ppl, inputs, draws, seed, mean=noise == "mean")
        if noise != "posterior":
            return _with_noise(ppl, model, inputs, draws, noise)
        self._check_rows(inputs, draws)
        return draws

    def _with_gates(self, ppl: PPL, inputs: tuple, draws: dict[str, np.ndarray], seed: int, *, mean: bool) -> dict[str, np.ndarray]:
        """Draws with those noises that have a row per case drawn for the rows of ``inputs``, or at their mean."""
        if mean:
            found, rows = self.guide.means(self.params, self.guide.anew).items(), first_array(inputs).shape[0]
            return draws | {name: np.broadcast_to(value, (self.num_draws, rows, *value.shape)) for name, value in found}
        fresh, _ = self.guide.sample_posterior(ppl, self.params, inputs, num_draws=self.num_draws, seed=seed)
        return draws | {name: fresh[name] for name in self.guide.anew}

    def _check_rows(self, inputs: tuple, draws: dict[str, np.ndarray]) -> None:
        """Raise ValueError if a noise was drawn per row, and there are not as many rows."""
        rows = first_array(inputs).shape[0]
        for name, values in draws.items():
            if self._by_row(name) and values.shape[1] != rows:
                raise ValueError(
                    f"the noise {name!r} was drawn for each of the {values.shape[1]} rows of the fit, and here are {rows} others: give "
                    "noise='prior', which draws it anew, or noise='mean'"
                )

    def _flat_latents(self) -> dict[str, np.ndarray]:
        if self.info.dropped:
            raise ValueError(f"the site {self.info.dropped[0]!r} was dropped, and the model needs it: fit with keep= or drop= that keep it")
        return {name: self.draws[name].reshape(-1, *self.draws[name].shape[2:]) for name in self.latents}

    def _chained(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(*self.log_joint.shape, *values.shape[1:])


def _with_noise(ppl: PPL, model: Callable, inputs: tuple, draws: dict[str, np.ndarray], noise: str) -> dict[str, np.ndarray]:
    """Draws with the noise sites left out (drawn anew from the prior) or at their prior mean."""
    structure = ppl.engine.structure(model, inputs, seed=0)
    laws = {name: site.noise for name, site in structure.sites.items() if site.role == "noise" and site.form != "hierarchical"}
    laws = {name: law for name, law in laws.items() if name in draws and law is not None}
    if not laws:
        raise ValueError(f"noise={noise!r} needs noise sites apart from the weights: fit with parametrization='expanded'")
    if noise == "prior":
        return {name: value for name, value in draws.items() if name not in laws}
    means = {name: law.site_mean() for name, law in laws.items()}
    for name, mean in means.items():
        if not np.isfinite(mean):
            raise ValueError(f"the noise {name!r} has no finite mean under {laws[name]}: use noise='posterior' or 'prior'")
    at_mean = {name: np.full((len(draws[name]), *structure.latents[name]), mean) for name, mean in means.items()}
    return draws | at_mean
