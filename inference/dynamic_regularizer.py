"""The dynamic regularizer: points, shrunk where a softmax of random sharpness selects them. No posterior.

    minimize (N/B) Σ_batch −log p(y | w) + λ Σₛ ‖Iₛ∘w‖²,   Iₛ what P = softmax(pₛ u(w)), pₛ ~ U(0, 1), selects

The paper contradicts itself in several places; each reading is an option. Its other half, ``sm.divergences.projected_cross_entropy``, is no
part of this recipe: the loss of a row stays the model's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.checks import check_between
from scalemix.divergences.dynamic import SCORES, SELECTS
from scalemix.guided import GuideSettings, fit_guide, refuse_unless, rows_in
from scalemix.guides import Component, Point, SelectivePoint, Target
from scalemix.plan import single_form
from scalemix.posterior import Posterior
from scalemix.priors import ScaleMixture
from scalemix.runs import Structure
from scalemix.training.feed import steps_in

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to train; further arguments as in ``scalemix.training.Settings``. No default of λ, S, α or s_p is the paper's.

    Args:
        num_draws: how often the point stands in the result: predictions are draws, too.
        local_reparametrization: has no meaning here.
        strength: λ, of the summed loss.
        num_selections: S, draws of p at each step.
        momentum: α; below 1 P has a share of the P of earlier weights.
        previous: these are the weights of the "step" before (default), or of the end of the "epoch" before.
        score: u(w): "abs" (large weights, as the text says), "literal" (−w, as eq. 4 is printed), "neg_abs" or "value".
        select: "topk", "T_over_N" or "absolute" (``sm.divergences.selection``).
        fraction, threshold: s_p with "topk"; T with the others.
        form: "squared" (eq. 3) or "norm" (eq. 6).
        scope: a softmax over each "layer", or "global" over all.
        elementwise: a p for each weight (algorithm 1); False: one for all (eq. 4), with which "topk" selects the same in every draw.

    Raises: ValueError for a number or a choice out of range.
    """

    num_draws: int = 100
    strength: float = 1e-4
    num_selections: int = 1
    momentum: float | None = None
    previous: str = "step"
    score: str = "abs"
    select: str = "topk"
    fraction: float | None = None
    threshold: float | None = None
    form: str = "squared"
    scope: str = "layer"
    elementwise: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.momentum is not None:
            check_between("Settings(momentum=)", self.momentum, 0.0, 1.0)
        choices = {
            "previous": ("step", "epoch"),
            "score": tuple(SCORES),
            "select": SELECTS,
            "form": ("squared", "norm"),
            "scope": ("layer", "global"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"Settings({name}={getattr(self, name)!r}): give one of {', '.join(map(repr, allowed))}")
        if (self.fraction if self.select == "topk" else self.threshold) is None:
            missing = "fraction=, the share of the weights that a draw selects" if self.select == "topk" else "threshold="
            raise ValueError(f"Settings(select={self.select!r}) needs {missing}: the paper gives no number")


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Train points under the dynamic regularizer: Kori and Sharma (2019), eq. 3-6, algorithm 1.

    loss = (N/B) Σ −log p(y | w) + λ Σₛ ‖Iₛ∘w‖², Iₛ the weights that draw s of the rates selects.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose weights with an input axis have the prior ``sm.Normal()``, in whose place the penalty stands.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; it has to say ``fraction`` or ``threshold``, and ``None`` is ``Settings(fraction=0.5)``.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: the point as every draw; biases and scales keep the ridge of their priors. It is no posterior: what is penalized depends on
        the weights and their past.

    Raises: ValueError for a model with another prior, naming the recipe that treats it.
    """
    settings = Settings(fraction=0.5) if settings is None else settings
    weights: list[str] = []
    steps = 1

    def check(structure: Structure) -> list[str]:
        nonlocal steps
        wants = "weights with the prior sm.Normal(), in whose place its penalty stands"
        weights.extend(refuse_unless(_is_normal, structure, "dynamic_regularizer", wants))
        if settings.previous == "epoch":
            steps = steps_in(data, rows_in(structure), settings)
        return ["the dynamic regularizer stands in the place of the weights' prior"]

    def choose(target: Target) -> Component:
        if target.site not in weights:
            return Point()
        return SelectivePoint(
            strength=settings.strength,
            num_draws=settings.num_selections,
            momentum=1.0 if settings.momentum is None else settings.momentum,
            score=settings.score,
            select=settings.select,
            fraction=settings.fraction,
            threshold=settings.threshold,
            form=settings.form,
            elementwise=settings.elementwise,
            refresh_every=steps,
            sites=tuple(weights) if settings.scope == "global" else (),
        )

    return fit_guide(
        ppl,
        model,
        data,
        choose,
        check=check,
        settings=settings,
        seed=seed,
        num_data=num_data,
        method="dynamic_regularizer",
        no_posterior="the penalty depends on what the weights are and were, and exp(−R) cannot be integrated",
        **training,
    )


def _is_normal(prior: Any) -> bool:
    return isinstance(prior, ScaleMixture) and single_form(prior)
