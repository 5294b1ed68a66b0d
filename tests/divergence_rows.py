"""Every public function of ``scalemix.divergences``: what kind of thing it is, and five settings that are not its defaults.

    kl                a divergence between two proper laws, to the last constant
    collapsed         the least of a divergence (or a loss) over a parameter that is thereby gone
    constant dropped  a divergence, or a log prior, less a constant that may be infinite: differences alone mean something
    bound             at one side of what it stands for
    no posterior      a penalty that no prior belongs to
    quantity          no divergence: what goes into one, or comes out of it

``test_divergences.py`` holds each row equal in NumPy and both languages; ``test_divergence_definitions.py`` holds each to what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["DIVERGENCES", "KINDS", "DivergenceRow"]

KINDS = ("kl", "collapsed", "constant dropped", "bound", "no posterior", "quantity")


@dataclass(frozen=True)
class DivergenceRow:
    """Each setting is the arrays (numbers here) that the function is differentiated in; ``options`` go with all, or one dict to each.

    Attributes:
        plain: it is of Python numbers alone and returns one, or a NumPy array: no language, no gradient.
        wide: elementwise in (mean, scale, ...), and finite with its gradients for scales from 1e−8 to 1e8 in float32.
    """

    kind: str
    settings: tuple[tuple[Any, ...], ...]
    options: tuple[dict[str, Any], ...] = field(default=({},))
    plain: bool = False
    wide: bool = False

    def cases(self) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        options = self.options * len(self.settings) if len(self.options) == 1 else self.options
        return list(zip(self.settings, options, strict=True))


NORMAL = ((0.3, 0.7), (-1.2, 0.05), (2.0, 3.0), (0.0, 0.4), (-0.01, 1.5))
ALPHA = ((-7.3,), (-2.2,), (0.4,), (2.6,), (8.9,))
PRIORS = tuple({"prior_inclusion": p, "slab_scale": a, "spike_scale": b} for p, a, b in
               ((0.4, 2.7, 0.05), (0.2, 1.0, 0.3), (0.7, 3.0, 0.5), (0.5, 0.8, 0.01), (0.9, 10.0, 0.2)))  # fmt: skip
GATED = tuple((*pair, p) for pair, p in zip(NORMAL, (0.7, 0.05, 0.5, 0.99, 0.3), strict=True))
LOG_NORMAL = ((-0.7, 0.6), (0.2, 0.3), (-2.0, 1.1), (0.9, 0.05), (0.0, 0.8))
SHAPES = tuple({"concentration": a, "prior_scale": b} for a, b in ((0.5, 0.09), (2.5, 1.3), (0.3, 4.0), (1.0, 0.5), (7.0, 0.2)))
BOUNDS = tuple({"low": a, "high": b} for a, b in ((0.0, 0.1), (0.5, 2.0), (0.0, 20.0), (1.0, 3.0), (0.2, 1.0)))
TRUNCATED = ((-1.0, 0.5), (-22.0, 2.0), (3.0, 0.4), (-10.0, 100.0), (-6.0, 4.0))
INTERVALS = tuple({"low": a, "high": b} for a, b in ((-20.0, 0.0), (-20.0, 1.0), (-8.0, 0.5), (-15.0, 0.0), (-5.0, -1.0)))

_rng = np.random.default_rng(5)
WEIGHTS = tuple((_rng.normal(size=(4, 3)),) for _ in range(5))
RATES = _rng.uniform(size=(6, 4, 3))
LOGITS = tuple((_rng.normal(size=(5, 4)),) for _ in range(5))
SELECTIONS: tuple[dict[str, Any], ...] = (
    {"fraction": 0.3},
    {"select": "T_over_N", "threshold": 1.05, "score": "literal"},
    {"select": "absolute", "threshold": 0.09, "score": "neg_abs"},
    {"fraction": 0.5, "score": "neg_abs"},
    {"fraction": 0.1, "score": "literal"},
)
DYNAMIC = tuple({"rates": RATES, "strength": 0.3, "form": form, **options} for form, options in
                zip(("squared", "norm", "norm", "squared", "norm"), SELECTIONS, strict=True))  # fmt: skip
PROJECTED: tuple[dict[str, Any], ...] = (
    {"fraction": 0.5},
    {"fraction": 0.25, "method": "literal", "reduce": "sum"},
    {"fraction": 0.5, "score": "literal", "reduce": "sum"},
    {"select": "T_over_N", "threshold": 1.0, "method": "literal"},
    {"select": "absolute", "threshold": 0.3},
)
LABELS = {"labels": np.array([0, 3, 1, 2, 2]), "rates": np.random.default_rng(6).uniform(size=(3, 5, 4))}
REGRESSION = tuple((_rng.normal(size=(4, 3)), _rng.normal(size=4), _rng.normal(size=3)) for _ in range(5))
NOISES = tuple({"noise_mean": m, "noise_scale": s} for m, s in ((1.0, 0.65), (0.7, 0.46), (1.0, 0.5), (0.2, 0.4), (1.0, 3.0)))
CONCRETE = ((37.5, 0.2), (1.3, 0.05), (10.0, 0.9), (250.0, 0.5), (0.0, 0.33))
LAYERS = tuple({"length_scale": a, "num_inputs": b, "num_data": n, "inverted": inverted} for a, b, n, inverted in
               ((0.1, 64, 1000, False), (1.0, 3, 1, False), (2.0, 10, 1, True), (0.3, 784, 60000, True), (1e-4, 5, 7, False)))  # fmt: skip
SCALES = tuple({"kl_scale": a, "num_positions": b} for a, b in ((1e-3, 1), (2e-5, 64), (1.0, 9), (0.5, 1), (3.0, 4)))

DIVERGENCES = {
    "normal": DivergenceRow("kl", NORMAL, tuple({"prior_mean": m, "prior_scale": s} for m, s in NORMAL[::-1]), wide=True),
    "bernoulli": DivergenceRow(
        "kl", ((0.7,), (0.05,), (0.5,), (0.98,), (0.3,)), tuple({"prior_inclusion": p} for p in (0.4, 0.01, 0.9, 0.5, 0.3))
    ),
    "log_normal_gamma": DivergenceRow("kl", LOG_NORMAL, SHAPES),
    "log_normal_inverse_gamma": DivergenceRow("kl", LOG_NORMAL, SHAPES),
    "spike_slab": DivergenceRow("kl", GATED, PRIORS, wide=True),
    "truncated_log_uniform": DivergenceRow("kl", TRUNCATED, INTERVALS, wide=True),
    "gaussian_uniform": DivergenceRow("collapsed", ALPHA),
    "bounded_gaussian_uniform": DivergenceRow("collapsed", NORMAL, BOUNDS, wide=True),
    "collapsed_spike_slab": DivergenceRow("collapsed", NORMAL, PRIORS, wide=True),
    "vibnet_profile": DivergenceRow("collapsed", ((0.7, 0.3077), (2.0, 0.0385), (-0.3, 5.0), (1.0, 1.0), (0.05, 0.4))),
    "log_uniform": DivergenceRow("constant dropped", ALPHA),
    "ridge": DivergenceRow(
        "constant dropped", ((0.3,), (-2.0,), (0.0,), (7.0,), (1e-3,)), tuple({"base_scale": s} for s in (0.5, 3.0, 1.0, 10.0, 0.01))
    ),
    "concrete_dropout": DivergenceRow("constant dropped", CONCRETE, LAYERS),
    "expected_squared_error": DivergenceRow("bound", REGRESSION, NOISES),
    "dynamic_regularizer_bound": DivergenceRow("bound", WEIGHTS, ({"strength": 0.3, "num_draws": 5, "fraction": 0.4, "threshold": 0.2},)),
    "vibnet": DivergenceRow("no posterior", NORMAL, SCALES, wide=True),
    "hard_concrete": DivergenceRow(
        "no posterior",
        ((0.5,), (-3.0,), (0.0,), (4.0,), (-0.2,)),
        tuple(
            {"temperature": t, "low": a, "high": b}
            for t, a, b in ((0.6, -0.1, 1.1), (0.3, -0.2, 1.3), (1.0, -0.05, 1.5), (0.9, -0.3, 1.05), (2.0, -1.0, 2.0))
        ),
    ),
    "dynamic_regularizer": DivergenceRow("no posterior", WEIGHTS, DYNAMIC),
    "projected_cross_entropy": DivergenceRow("no posterior", LOGITS, tuple({**LABELS, **options} for options in PROJECTED)),
    "log_alpha": DivergenceRow("quantity", ((0.3, 0.7), (-1.2, 0.05), (2.0, 3.0), (-4.0, 0.4), (-0.01, 1.5)), wide=True),
    "gaussian_uniform_variance": DivergenceRow("quantity", NORMAL, BOUNDS),
    "inclusion": DivergenceRow("quantity", NORMAL, PRIORS, wide=True),
    "hard_concrete_gate": DivergenceRow("quantity", ((0.5,), (-3.0,), (0.0,), (4.0,), (-0.2,)), ({"low": -0.3, "high": 1.2},)),
    "selection": DivergenceRow("quantity", WEIGHTS, tuple({"rates": RATES, **options} for options in SELECTIONS)),
    "truncated_log_uniform_moments": DivergenceRow("quantity", TRUNCATED, INTERVALS, plain=True),
    "minibatch_weights": DivergenceRow("quantity", ((10,), (1,), (3,), (2000,), (7,)), ({"method": "geometric"},), plain=True),
    "vibnet_gamma": DivergenceRow(
        "quantity", ((1e-3,), (0.2,), (5.0,), (1.0,), (2e-5,)), ({"num_layers": 3, "num_positions": 4},), plain=True
    ),
    "vibnet_kl_scale": DivergenceRow(
        "quantity", ((1e-3,), (0.2,), (5.0,), (1.0,), (2e-5,)), ({"num_layers": 3, "num_positions": 4},), plain=True
    ),
    "vibnet_layer_gamma": DivergenceRow(
        "quantity", ((1e-3, 4), (0.2, 8), (5.0, 1), (1.0, 16), (2e-5, 2)), ({"spatial_sum": False},), plain=True
    ),
}
