"""The objective of every variational fit, once for both languages, in nats:

    loss = (N/B) Σ_batch −log p(y | θ) + kl_weight · Σ_sites D(q_site, p_site)

    D = KL(q ‖ p) in closed form     "closed", where a guide's component says that there is one
        0                            "prior": q is the prior's own law
        −log p(θ)                    "point": q is a point
        log q(θ) − log p(θ)          "monte_carlo", at the draw

A site of a guide that says none of these (a guide of one's own) has the closed form where the language knows one, else the last line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Terms", "divergence"]

WAYS = ("closed", "prior", "point", "monte_carlo")


@dataclass
class Terms:
    """What one run of guide and model adds up: negative log likelihoods and divergences by site, both scaled (N/B in the data's plate)."""

    nll: dict[str, Any] = field(default_factory=dict)
    divergences: dict[str, Any] = field(default_factory=dict)

    def loss(self, kl_weight: Any) -> tuple[Any, dict[str, Any]]:
        """The loss, and its two parts with the divergence unweighted."""
        nll, kl = sum(self.nll.values()), sum(self.divergences.values())
        return nll + kl_weight * kl, {"nll": nll, "kl": kl}


def divergence(ppl: PPL, site: str, q: Any, p: Any, value: Any, infer: Mapping[str, Any] | None, scale: Any = 1.0) -> Any:
    """D(q, p) of a ``site``, summed and multiplied by ``scale``; a number 0 or a scalar array.

    Args:
        ppl: the language.
        site: its name, for the errors.
        q, p: its laws in the guide and in the model.
        value: the draw of q.
        infer: what the guide's sample statement says of it; "divergence" is one of the ways above.
        scale: of the plates it stands in.

    Raises: ValueError where a closed form is expected and the language dispatches none.
    """
    how = (infer or {}).get("divergence")
    if how == "prior":
        return 0.0
    if how == "point":
        return -scale * _total(p.log_prob(value))
    if how != "monte_carlo":
        try:
            return scale * _total(ppl.kl_divergence(q, p))
        except NotImplementedError as error:
            if how == "closed":
                raise ValueError(
                    f"the guide of {site!r} expects a closed KL, and {ppl.name} knows none from {_named(q)} to {_named(p)}: take another "
                    "component or prior, or guides.Gaussian(monte_carlo=True)"
                ) from error
    return scale * (_total(q.log_prob(value)) - _total(p.log_prob(value)))


def _total(values: Any) -> Any:
    return values.sum() if getattr(values, "ndim", 0) else values


def _named(law: Any) -> str:
    while hasattr(law, "base_dist"):
        law = law.base_dist
    return type(law).__name__
