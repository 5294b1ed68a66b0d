"""Every noise, tying, named prior, model, recipe and divergence, each as a row. Properties run over the rows; a new one is a new row.

``cases()`` crosses models, priors and parametrizations: whatever a row adds is held equal in both languages by ``test_registry.py`` and
drawn from by ``test_forms.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from divergence_rows import DIVERGENCES

from scalemix import inference, likelihoods, models, noise
from scalemix.noise import Noise
from scalemix.plan import Parametrization
from scalemix.priors import (
    GaussianUniform,
    GaussianUniformMaximized,
    Horseshoe,
    Laplace,
    LogUniform,
    Normal,
    NormalMixture,
    ScaleMixture,
    SmoothLogUniform,
    SpikeAndSlab,
    StudentT,
)

__all__ = [
    "DIVERGENCES",
    "MODELS",
    "NOISES",
    "PRIORS",
    "RECIPES",
    "TYINGS",
    "VARIATIONAL_PRIORS",
    "Case",
    "ModelRow",
    "NoiseRow",
    "PriorRow",
    "TyingRow",
    "cases",
]

ALL_FORMS = ("expanded", "hierarchical", "marginal")


@dataclass(frozen=True)
class NoiseRow:
    """A noise at settings that are not its defaults, and the forms it must have: one ξ per weight, and one ξ for several weights."""

    noise: Noise
    forms: tuple[str, ...]
    tied_forms: tuple[str, ...]


@dataclass(frozen=True)
class TyingRow:
    """``per(*axes)`` on a weight of a shape with named axes, and the shape ξ must have."""

    per: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    noise_shape: tuple[int, ...]


@dataclass(frozen=True)
class PriorRow:
    """A prior, the forms it must have on a vector, and the constructor it is a row of (``ScaleMixture`` for what has no name)."""

    prior: ScaleMixture
    forms: tuple[Parametrization, ...]
    constructor: str = "ScaleMixture"


@dataclass(frozen=True)
class ModelRow:
    """A model with its options, small data for it, and the names of its weights under the prior."""

    model: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    outcome: str = "real"
    row_shape: tuple[int, ...] = (2,)
    weights: tuple[str, ...] = ("w1",)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """x (6, *row_shape) and y (6,), always the same."""
        rng = np.random.default_rng(20)
        x = rng.normal(size=(6, *self.row_shape))
        y = {
            "real": rng.normal(size=6),
            "binary": np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]),
            "class": np.array([0, 2, 1, 2, 0, 1]),
            "count": np.array([0.0, 3.0, 1.0, 2.0, 0.0, 5.0]),
        }[self.outcome]
        return x, y


@dataclass(frozen=True)
class Case:
    """One model under one prior in one parametrization."""

    model_name: str
    prior_name: str
    form: Parametrization

    @property
    def id(self) -> str:
        form = self.form if isinstance(self.form, str) else "mixed"
        return f"{self.model_name}-{self.prior_name}-{form}"

    @property
    def row(self) -> ModelRow:
        return MODELS[self.model_name]

    @property
    def prior(self) -> ScaleMixture:
        return PRIORS[self.prior_name].prior

    @property
    def model(self) -> Callable[..., Any]:
        return partial(self.row.model, prior=self.prior, parametrization=self.form, **self.row.options)


NOISES = {
    "constant": NoiseRow(noise.Constant(0.7), ("marginal",), ("marginal",)),
    "bernoulli": NoiseRow(noise.Bernoulli(0.3, high=1.5), ("expanded",), ("expanded",)),
    "bernoulli_low": NoiseRow(noise.Bernoulli(0.3, low=0.05, high=1.5), ALL_FORMS, ALL_FORMS),
    "gaussian": NoiseRow(noise.Gaussian(1.0, 0.5), ALL_FORMS[:2], ALL_FORMS[:2]),
    "gaussian_zero": NoiseRow(noise.Gaussian(0.0, 0.6), ALL_FORMS[:2], ALL_FORMS[:2]),
    "rayleigh": NoiseRow(noise.Rayleigh(0.8), ALL_FORMS, ALL_FORMS[:2]),
    "inverse_nakagami": NoiseRow(noise.InverseNakagami(3.0, 0.5**0.5), ALL_FORMS, ALL_FORMS[:2]),
    "half_cauchy": NoiseRow(noise.HalfCauchy(1.2), ALL_FORMS, ALL_FORMS[:2]),
    "half_normal": NoiseRow(noise.HalfNormal(0.6), ALL_FORMS[:2], ALL_FORMS[:2]),
    "chi": NoiseRow(noise.Chi(5.0, 0.4), ALL_FORMS[:2], ALL_FORMS[:2]),
    "log_normal": NoiseRow(noise.LogNormal(-0.7, 0.6), ALL_FORMS[:2], ALL_FORMS[:2]),
    "beta": NoiseRow(noise.Beta(2.0, 3.0), ALL_FORMS[:2], ALL_FORMS[:2]),
    "uniform": NoiseRow(noise.Uniform(0.0, 1.5), ALL_FORMS, ALL_FORMS[:2]),
    "uniform_away_from_0": NoiseRow(noise.Uniform(0.2, 1.5), ALL_FORMS, ALL_FORMS[:2]),
    "uniform_variance": NoiseRow(noise.UniformVariance(0.0, 2.0), ALL_FORMS, ALL_FORMS[:2]),
    "uniform_variance_away_from_0": NoiseRow(noise.UniformVariance(0.05, 3.0), ALL_FORMS, ALL_FORMS[:2]),
    "log_uniform": NoiseRow(noise.LogUniform(1e-2, 10.0), ALL_FORMS, ALL_FORMS[:2]),
    "structured_pruning": NoiseRow(noise.LogUniform.structured_pruning(), ALL_FORMS, ALL_FORMS[:2]),
    "relaxed_bernoulli": NoiseRow(noise.RelaxedBernoulli(0.3, 0.8), ALL_FORMS[:2], ALL_FORMS[:2]),
    "hard_concrete": NoiseRow(noise.HardConcrete(0.5), ALL_FORMS[:1], ALL_FORMS[:1]),
    "learned_gate": NoiseRow(noise.Bernoulli(noise.Beta(2.0, 3.0), low=0.05), ALL_FORMS, ALL_FORMS),
    "learned_scale": NoiseRow(noise.Rayleigh(noise.HalfCauchy(0.5)), ALL_FORMS, ALL_FORMS[:2]),
}

TYINGS = {
    "weight": TyingRow((), (2, 3), ("in", "out"), (2, 3)),
    "in": TyingRow(("in",), (2, 3), ("in", "out"), (2,)),
    "out": TyingRow(("out",), (2, 3), ("in", "out"), (3,)),
    "filter": TyingRow(("out",), (5, 4, 2, 3), ("height", "width", "in", "out"), (3,)),
    "channel": TyingRow(("in",), (5, 4, 2, 3), ("height", "width", "in", "out"), (2,)),
    "in_out": TyingRow(("in", "out"), (2, 3), ("in", "out"), (2, 3)),
    "layer": TyingRow(("layer",), (2, 3), ("in", "out"), ()),
    "torch_layout": TyingRow(("in",), (3, 2), ("out", "in"), (2,)),
    "kernel": TyingRow(("in", "out"), (5, 4, 2, 3), ("height", "width", "in", "out"), (2, 3)),
    "order_of_the_weight": TyingRow(("out", "in"), (5, 4, 2, 3), ("height", "width", "in", "out"), (2, 3)),
    "gates_untied": TyingRow(("in", "gate"), (2, 4, 3), ("in", "gate", "out"), (2, 4)),
    "gates_tied": TyingRow(("in",), (2, 4, 3), ("in", "gate", "out"), (2,)),
    "vector": TyingRow(("in",), (4,), ("in",), (4,)),
    "scalar": TyingRow((), (), (), ()),
}

SLAB = noise.InverseNakagami(4.0, 2.0)
PRIORS = {
    "normal": PriorRow(Normal(0.8), ("marginal",), "Normal"),
    "laplace": PriorRow(Laplace(0.7), ALL_FORMS, "Laplace"),
    "student_t": PriorRow(StudentT(4.0, 0.6), ALL_FORMS, "StudentT"),
    "point_spike": PriorRow(SpikeAndSlab(0.3, 1.2), ("expanded",), "SpikeAndSlab"),
    "continuous_spike": PriorRow(SpikeAndSlab(0.3, 1.2, 0.05), ALL_FORMS, "SpikeAndSlab"),
    "horseshoe": PriorRow(
        Horseshoe(0.2), ("expanded", "hierarchical", {"noise_weight": "marginal"}, {"noise_weight": 0.3, "tau": 1.0}), "Horseshoe"
    ),
    "regularized_horseshoe": PriorRow(
        Horseshoe(expected_active=1, num_data=6, slab_scale=2.0), ("expanded", "hierarchical", {"slab": "hierarchical"}), "Horseshoe"
    ),
    "normal_mixture": PriorRow(NormalMixture(0.4, 1.1, 0.1), ALL_FORMS, "NormalMixture"),
    "gaussian_uniform": PriorRow(GaussianUniform(0.0, 4.0), ALL_FORMS, "GaussianUniform"),
    "smooth_log_uniform": PriorRow(SmoothLogUniform(1e-3, 1e1), ALL_FORMS, "SmoothLogUniform"),
    "group_log_uniform": PriorRow(SmoothLogUniform(1e-3, 1e1, per="in"), ALL_FORMS, "SmoothLogUniform"),
    "horseshoe_network": PriorRow(
        Horseshoe(expected_active=1, num_data=6, slab_scale=2.0, per="in"), ("expanded", "hierarchical"), "Horseshoe"
    ),
    "learned_inclusion": PriorRow(SpikeAndSlab(noise.Beta(1.0, 2.0).per("layer"), 1.2, 0.05), ALL_FORMS, "SpikeAndSlab"),
    "learned_shared_gate": PriorRow(ScaleMixture(noise.Bernoulli(noise.Beta(1.0, 2.0), low=0.1).per("in"), base_scale=1.3), ALL_FORMS),
    "learned_rate": PriorRow(ScaleMixture(noise.Rayleigh(noise.HalfCauchy(0.5).per("layer", name="rate")).per("in")), ALL_FORMS),
    "ard": PriorRow(ScaleMixture(noise.Rayleigh(0.8).per("in"), base_scale=1.5), ALL_FORMS),
    "add": PriorRow(ScaleMixture(noise.HalfCauchy(0.7).per("layer")), ("expanded", "hierarchical")),
    "ard_add": PriorRow(
        ScaleMixture(noise.Rayleigh(0.8).per("in"), noise.HalfCauchy(0.7).per("layer", name="tau")), ("expanded", "hierarchical")
    ),
    "stochastic_depth": PriorRow(ScaleMixture(noise.Bernoulli(0.8).per("layer")), ("expanded",)),
    "dropout": PriorRow(ScaleMixture(noise.Gaussian(1.0, 0.5).per("in")), ("expanded", "hierarchical")),
    "shared_gate": PriorRow(ScaleMixture(noise.Bernoulli(0.4, low=0.1).per("layer"), base_scale=1.3), ALL_FORMS),
    "shared_gates": PriorRow(
        ScaleMixture(noise.Bernoulli(0.4, low=0.1), noise.HalfCauchy(0.5).per("layer", name="tau"), slab=SLAB),
        ("expanded", "hierarchical"),
    ),
}

# Penalties that look like priors: no sampler is given them.
VARIATIONAL_PRIORS = {"LogUniform": LogUniform(), "GaussianUniformMaximized": GaussianUniformMaximized()}

MODELS = {
    "linear": ModelRow(models.linear),
    "linear_sigma_scaled": ModelRow(models.linear, {"scale_by_sigma": True, "bias_prior": None}),
    "linear_student_t": ModelRow(models.linear, {"likelihood": likelihoods.StudentT(df=5.0, prior_scale=2.0)}),
    "linear_fixed_sigma": ModelRow(models.linear, {"likelihood": likelihoods.Gaussian(scale=0.5)}),
    "linear_bernoulli": ModelRow(models.linear, {"likelihood": "bernoulli"}, "binary"),
    "linear_poisson": ModelRow(models.linear, {"likelihood": "poisson"}, "count"),
    "mlp": ModelRow(models.mlp, {"widths": (2,)}, weights=("w1", "w2")),
    "mlp_categorical": ModelRow(
        models.mlp, {"widths": (2,), "likelihood": "categorical", "num_outputs": 3, "activation": "relu"}, "class", weights=("w1", "w2")
    ),
    "mlp_no_fan_in": ModelRow(models.mlp, {"widths": (2,), "activation": "sigmoid", "scale_by_fan_in": False}, weights=("w1", "w2")),
    "mlp_noise_on_input": ModelRow(models.mlp, {"widths": (2,), "noise_on": "input"}, weights=("w1", "w2")),
    "mlp_noise_per_example": ModelRow(models.mlp, {"widths": (2,), "noise_on": "input", "noise_plate": "example"}, weights=("w1", "w2")),
    "logistic": ModelRow(models.logistic, outcome="binary"),
    "resnet": ModelRow(models.resnet, {"width": 2, "num_blocks": 2}, weights=("w_in", "w1", "w2", "w_out")),
    "resnet_ard": ModelRow(models.resnet, {"width": 2, "num_blocks": 1, "scale_bias": False, "activation": "tanh"}),
    "resnet_post": ModelRow(models.resnet, {"width": 2, "num_blocks": 1, "position": "post"}),
    "resnet_stochastic_depth": ModelRow(
        models.resnet, {"width": 2, "num_blocks": 2, "position": "post", "likelihood": "bernoulli"}, "binary"
    ),
    "lenet": ModelRow(
        models.lenet,
        # four layers of weights of 1e6 without a bounded activation have logits that differ by their rounding alone
        {"filters": (2, 3), "kernel": 2, "widths": (2,), "num_outputs": 3, "activation": "tanh"},
        "class",
        (7, 7, 1),
        ("w1", "w2", "w3", "w4"),
    ),
    "lenet_mean_pooling": ModelRow(
        models.lenet,
        {"filters": (2,), "kernel": 3, "widths": (), "num_outputs": 1, "likelihood": "bernoulli", "pooling": "mean"},
        "binary",
        (5, 6, 2),
    ),
    "lstm": ModelRow(models.lstm, {"width": 2}, row_shape=(3, 2), weights=("w", "u", "w_out")),
    "lstm_per_example": ModelRow(models.lstm, {"width": 2, "noise_plate": "example"}, row_shape=(3, 2), weights=("w", "u", "w_out")),
}

# What runs with every prior; each other model runs with one. A prior with one noise per weight says nothing new in a network: of those
# that differ from another row in the law of ξ alone, "linear" has them all.
EVERY_PRIOR = ("linear", "mlp")
ONLY_LINEAR = {"normal_mixture", "gaussian_uniform", "smooth_log_uniform"}
ONE_PRIOR = {
    "linear_sigma_scaled": "regularized_horseshoe",
    "mlp_noise_on_input": "dropout",
    "mlp_noise_per_example": "dropout",
    "lenet": "dropout",
    "lstm": "dropout",
    "lstm_per_example": "dropout",
    "resnet": "add",
    "resnet_ard": "ard_add",
    "resnet_post": "ard_add",
    "resnet_stochastic_depth": "stochastic_depth",
}

RECIPES: dict[str, ModuleType] = {
    name: getattr(inference, name)
    for name in ("nuts", "hmc", "gibbs", "enumeration", "coordinates", "svi", "mean_field", "low_rank", "full_rank")
} | {name: getattr(inference, name) for name in ("variational_dropout", "vbd", "map", "mc_dropout", "bayes_by_backprop")}
RECIPES |= {name: getattr(inference, name) for name in ("vib", "spike_slab", "horseshoe", "concrete", "dynamic_regularizer")}


def cases() -> Iterator[Case]:
    """The crossing, less what does not exist: a tied noise has a marginal form for a vector, where it is shared by nobody."""
    for name, row in PRIORS.items():
        for form in row.forms:
            for model in EVERY_PRIOR[:1] if name in ONLY_LINEAR else EVERY_PRIOR:
                if not (model == "mlp" and form == "marginal" and name in ("ard", "group_log_uniform", "learned_rate")):
                    yield Case(model, name, form)
    for model in MODELS:
        if model not in EVERY_PRIOR:
            name = ONE_PRIOR.get(model, "laplace")
            yield Case(model, name, PRIORS[name].forms[0])
