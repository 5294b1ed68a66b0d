"""The maximum a posteriori: a point for every site, minimizing −log p(θ, y).

A mode is a mode of a density, and a density changes with the coordinates: expanded, hierarchical and marginal forms of one prior have
different modes, and so have a scale and its logarithm. Here it is the density on the scale on which the model samples each site. In the
marginal form a normal prior is the ridge (L2), a Laplace prior the lasso (L1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.guided import GuideSettings, fit_guide, recipe_for
from scalemix.guides import Point
from scalemix.posterior import Posterior
from scalemix.priors import VariationalPrior
from scalemix.runs import Structure

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to optimize; further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: how often the point stands in the posterior: predictions are draws, too.
        local_reparametrization: has no meaning here.

    Raises: ValueError for a number or a choice out of range.
    """

    num_draws: int = 100


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Find a mode of p(θ | y) of the sites θ: minimize loss = −(N/B) Σ log p(y | θ) − log p(θ).

    With ``sm.Normal()`` the ridge of Hoerl and Kennard (1970), with ``sm.Laplace()``, marginal form, the lasso of Park and Casella (2008).

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` with a proper prior and no discrete site.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: of the starting point; another one may end in another mode.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: the point as every draw, ``losses`` −log p(θ, y) by epoch; a note says in which parametrization.

    Raises: ValueError for a prior without a density, naming the recipe that treats it, and for discrete sites.
    """
    settings = Settings() if settings is None else settings

    def check(structure: Structure) -> list[str]:
        for name, site in structure.sites.items():
            if isinstance(site.prior, VariationalPrior):
                other = recipe_for(site.prior)
                raise ValueError(f"map needs a prior with a bounded density, and {name!r} has {site.prior}: use scalemix.inference.{other}")
        forms = sorted({site.form for site in structure.sites.values() if site.role == "weight"} - {"single"}) or ["single"]
        return [
            f"a point: a mode of the density on the sites' own scales, prior in its {' and '.join(forms)} form; others have other modes"
        ]

    return fit_guide(
        ppl, model, data, lambda target: Point(), check=check, settings=settings, seed=seed, num_data=num_data, method="map", **training
    )
