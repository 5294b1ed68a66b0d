"""A regression or a classification whose function is somebody's network, lifted: priors stand on the network's own weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalemix.compress.layers import read_as
from scalemix.identified import HiddenUnits, identified_by
from scalemix.lifting import Lifted
from scalemix.likelihoods import Likelihood, sample_outcome
from scalemix.likelihoods import likelihood as likelihood_named

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["lifted"]


@read_as(lambda weights, options: options["net"].layers(weights))
@identified_by(HiddenUnits(first=None))
def lifted(ppl: PPL, x: Any, y: Any | None = None, *, net: Lifted, likelihood: str | Likelihood = "gaussian") -> Any:
    """y ~ likelihood(net(x)), with the priors that ``net`` was lifted with on its weights.

    A network as a Bayesian model by priors on its weights is MacKay (1992), "A practical Bayesian framework for backpropagation networks".

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``, the one in which the network was lifted.
        x: what the network takes, cases first.
        y: (n,), or ``None`` to predict.
        net: ``ppl.lift(module, {"*.weight": prior, ...})``.
        likelihood: by name, or a value of ``scalemix.likelihoods``; "categorical" reads the network's outputs as logits, the others one
            output per case, (n,) or (n, 1).

    Sites: those of the network's weights by their names; sigma; y. Returns y.

    Raises: ValueError if the network is lifted in the other language, has another number of outputs, or a weight with the name of another
        site, or y is not (n,).
    """
    if net.language().name != ppl.name:
        raise ValueError(f"the network was lifted in {net.language().name} and the model is run in {ppl.name}: lift it with this ppl")
    law = likelihood_named(likelihood)
    _check_names(net, law)
    output = net(x)
    if output.ndim == 2 and output.shape[-1] == 1 and output.shape[0] == x.shape[0]:
        output = output[..., 0]
    wanted = 2 if law == likelihood_named("categorical") else 1
    if output.ndim != wanted or output.shape[0] != x.shape[0]:
        raise ValueError(
            f"the network's output has the shape {tuple(output.shape)} for {x.shape[0]} rows, and likelihood={likelihood!r} wants "
            f"{'(n, K)' if wanted == 2 else '(n,) or (n, 1)'}: choose another likelihood, or give lift apply="
        )
    return sample_outcome(ppl, law, output, law.sigma(ppl), x, y)


def _check_names(net: Lifted, law: Likelihood) -> None:
    """Raise ValueError where a weight's site has the name of another site, or of the plate of the data."""
    sampled = law.has_scale and getattr(law, "scale", None) is None
    for name in ("y", "data", *(["sigma"] if sampled else [])):
        if name in net.priors:
            raise ValueError(
                f"the network has a weight {name!r}, and models.lifted has a site or plate of that name: rename the weight in the network, "
                f"or leave it alone by {{{name!r}: None, ...}}"
            )
