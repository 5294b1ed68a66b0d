"""Everything the comparison knows of one fit, without looking at another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scalemix.comparison.diagnostics import Diagnostics, ReferenceRule, diagnose
from scalemix.comparison.loo import Loo
from scalemix.comparison.predictive import HeldOut, held_out, loo
from scalemix.comparison.psis import khat_threshold
from scalemix.comparison.variational import ElboTrend, block_khats, elbo, elbo_trend, guide_khat

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Fit", "judge"]

NAN = float("nan")


@dataclass(frozen=True)
class Fit:
    """One row of the table before it is a row.

    Attributes:
        diagnostics: of a sampler's fit; ``None`` for a variational one.
        trend: of the ELBO or of the loss; ``None`` for a sampler, and for a guide that kept no losses.
        khat: of the guide; nan for a sampler.
        elbo, elbo_se: of the guide and its Monte Carlo standard error, nats; nan for a sampler.
        khat_blocks: of the guide, by weight site (``block_khats``).
    """

    name: str
    posterior: Posterior
    diagnostics: Diagnostics | None
    trend: ElboTrend | None
    khat: float
    loo: Loo
    held_out: HeldOut
    elbo: float = NAN
    elbo_se: float = NAN
    khat_blocks: dict[str, float] = field(default_factory=dict)

    @property
    def is_variational(self) -> bool:
        return self.posterior.is_variational

    @property
    def has_density(self) -> bool:
        """A variational fit whose draws have a density log q, by which they can be judged: no points, and a proper prior."""
        return self.posterior.log_guide is not None

    @property
    def converged(self) -> bool | None:
        """A sampler's fit: the reference rule holds. A guide's: its ELBO or loss stands still; ``None`` if unknown."""
        if self.diagnostics is not None:
            return self.diagnostics.is_reference
        return None if self.trend is None else self.trend.converged

    @property
    def khat_limit(self) -> float:
        """The largest k-hat at which this many draws can be reweighted."""
        return khat_threshold(self.posterior.log_joint.size)


def judge(
    name: str,
    posterior: Posterior,
    *,
    data: Sequence[Any] | None = None,
    target_scale: tuple[float, float] = (0.0, 1.0),
    rule: ReferenceRule | None = None,
) -> Fit:
    """All that can be said of one fit without looking at another; what cannot be said is nan or ``None``."""
    has_density = posterior.log_guide is not None
    khat = guide_khat(posterior) if has_density else NAN
    return Fit(
        name,
        posterior,
        None if posterior.is_variational else diagnose(posterior, rule=rule),
        None if posterior.losses is None else elbo_trend(posterior.losses, **_words(posterior)),
        khat,
        loo(posterior, khat=khat if has_density else None),
        HeldOut() if data is None else held_out(posterior, data, target_scale=target_scale),
        *(elbo(posterior) if has_density else (NAN, NAN)),
        block_khats(posterior) if has_density else {},
    )


def _words(posterior: Posterior) -> dict[str, str]:
    """What the trend of the losses is of: without a density, or with a weighted divergence, they are no ELBO."""
    settings = posterior.info.settings
    is_elbo = posterior.log_guide is not None and settings.get("kl_weight", 1.0) == 1.0
    return {"quantity": "ELBO" if is_elbo else "loss", "unit": "epoch" if "num_epochs" in settings else "step"}
