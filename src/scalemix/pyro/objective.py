"""The objective of a guide and a model in torch: a pure function of the parameters. Contract: ``scalemix.language.Engine.objective``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from torch.distributions import biject_to
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from scalemix.lower import check_guide
from scalemix.minibatch import minibatch_of
from scalemix.objective import Terms, divergence
from scalemix.pyro.lean import Lean
from scalemix.pyro.svi import sample_sites
from scalemix.pyro.tensors import tensors
from scalemix.variational_scope import variational, variational_scope

__all__ = ["Objective", "draw_guide", "objective"]


class Objective:
    """``params`` and ``loss`` of a guide and a model; built by ``ppl.engine.objective``.

    Attributes:
        params: first values, unconstrained, in the precision in force.
        noise_parameters: names of those that say how wide the guide is.
        project: what a training does to the parameters after each step, or ``None``.
    """

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any], arrays: tuple, *, seed: int, method: str) -> None:
        from scalemix.pyro.engine import seeded

        self.model, self.guide = variational(model, method=method), guide
        self.noise_parameters = getattr(guide, "noise_params", ())
        self.project = getattr(guide, "project", None)
        batch = tensors(arrays)
        with seeded(seed), torch.no_grad(), pyro.get_param_store().scope(), pyro.validation_enabled(False):
            latents, observed = _check(self.model, guide, batch)
            lean = Lean({})
            lean.run(guide, self.model, batch)  # a closed KL that is not dispatched is an error here
            self.lean = set(lean.latents) == set(latents) and set(lean.terms.nll) >= set(observed)
            first = lean.params if self.lean else self._traced_params(batch)
            self.params = {name: value.detach().clone() for name, value in first.items()}
            if not self.lean:
                self.loss(self.params, batch)

    def loss(
        self, params: dict[str, Any], batch: tuple, key: Any = None, kl_weight: Any = 1.0, num_data: int | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss at ``params`` for a ``batch`` of ``num_data`` cases, and its parts; noise by torch's generator (``key`` is not used)."""
        if self.lean:
            return Lean(params, num_data=num_data).run(self.guide, self.model, batch).loss(kl_weight)
        return self._terms_by_poutine(params, batch, num_data).loss(kl_weight)

    def compiled(self) -> Callable[..., Any]:
        """``loss`` compiled for each shape of batch it meets; ``kl_weight`` has to be a tensor."""
        known: dict[Any, Callable[..., Any]] = {}

        def loss(params: dict[str, Any], batch: tuple, key: Any, kl_weight: Any, num_data: int | None) -> tuple[Any, dict[str, Any]]:
            shapes = tuple((leaf.shape, leaf.dtype) for leaf in tree_leaves(batch)), num_data
            if shapes not in known:
                options = {"fallback_random": True}  # inductor's own random numbers are slower on a CPU than torch's
                known[shapes] = torch.compile(self.graph(params, batch, num_data), fullgraph=True, dynamic=False, options=options)
            value, nll, kl = known[shapes](params, batch, kl_weight)
            return value, {"nll": nll, "kl": kl}

        return loss

    def graph(self, params: dict[str, Any], batch: tuple, num_data: int | None) -> Callable[..., Any]:
        """``(params, batch, kl_weight)`` → (loss, nll, kl) for batches of that shape as a graph of torch's operations alone.

        ``torch.compile`` cannot read the context variables and the plans of priors that ``loss`` runs through; in the graph they are gone.
        Random numbers are drawn anew at each call.
        """

        def flat(params: dict[str, Any], batch: tuple, kl_weight: Any) -> tuple[Any, Any, Any]:
            loss, parts = self.loss(params, batch, None, kl_weight, num_data)
            return loss, torch.as_tensor(parts["nll"]), torch.as_tensor(parts["kl"])

        first = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        weight = torch.ones((), device=next(iter(first.values())).device)
        with pyro.validation_enabled(False):
            return make_fx(flat)(first, batch, weight)

    def _traced_params(self, batch: tuple) -> dict[str, Any]:
        trace = poutine.trace(self.guide).get_trace(_ppl(), *batch)
        trace.nodes.update(poutine.trace(poutine.replay(self.model, trace=trace)).get_trace(_ppl(), *batch).nodes)
        self.transforms = {
            name: biject_to(site["kwargs"].get("constraint", torch.distributions.constraints.real))
            for name, site in trace.nodes.items()
            if site["type"] == "param"
        }
        return {name: transform.inv(trace.nodes[name]["value"]) for name, transform in self.transforms.items()}

    def _terms_by_poutine(self, params: dict[str, Any], batch: tuple, num_data: int | None) -> Terms:
        """Of plain Pyro models and guides, which call ``pyro.sample`` themselves."""
        with minibatch_of(num_data):
            values = {name: self.transforms[name](value) for name, value in params.items()}
            guide = poutine.trace(poutine.substitute(partial(self.guide, _ppl()), data=values)).get_trace(*batch)
            replayed = poutine.replay(poutine.substitute(partial(self.model, _ppl()), data=values), trace=guide)
            model = poutine.trace(replayed).get_trace(*batch)
        terms = Terms()
        for name, site in sample_sites(model).items():
            if site["is_observed"] and not site["infer"].get("_deterministic"):
                terms.nll[name] = -(site["scale"] * site["fn"].log_prob(site["value"])).sum()
            elif not site["is_observed"]:
                q = guide.nodes[name]
                terms.divergences[name] = divergence(_ppl(), name, q["fn"], site["fn"], q["value"], q["infer"], site["scale"])
        for name, site in sample_sites(guide).items():
            if name not in model.nodes:
                terms.divergences[name] = site["fn"].log_prob(site["value"]).sum()
        return terms


def objective(model: Callable[..., Any], guide: Callable[..., Any], arrays: tuple, *, seed: int, method: str = "exact") -> Objective:
    return Objective(model, guide, arrays, seed=seed, method=method)


def draw_guide(
    guide: Callable[..., Any], params: dict[str, Any], arrays: tuple, *, num_draws: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    from scalemix.pyro.engine import seeded

    values, batch = tensors({name: np.asarray(value) for name, value in params.items()}), tensors(arrays)
    draws: list[dict[str, np.ndarray]] = []
    log_guide = np.empty(num_draws)
    with seeded(seed), torch.no_grad(), pyro.validation_enabled(False):
        for index in range(num_draws):
            lean = Lean(values)
            guide(lean, *batch)
            log_guide[index] = sum(float(law.log_prob(value).sum()) for law, value, _ in lean.drawn.values())
            draws.append({name: drawn[1].cpu().numpy() for name, drawn in lean.drawn.items() if name not in lean.auxiliary})
    return {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}, log_guide


def _check(model: Callable[..., Any], guide: Callable[..., Any], batch: tuple) -> tuple[list[str], list[str]]:
    """Latent and observed sites of the model; refuses a guide that misses one or has one too many."""
    guide_sites = sample_sites(poutine.trace(guide).get_trace(_ppl(), *batch))
    with variational_scope(placeholders=True), poutine.trace() as tracer:
        model(_ppl(), *batch)
    sites = sample_sites(tracer.trace)
    latents = [name for name, site in sites.items() if not site["is_observed"]]
    check_guide(latents, list(guide_sites), [name for name, site in guide_sites.items() if site["infer"].get("is_auxiliary")])
    return latents, [name for name, site in sites.items() if site["is_observed"] and not site["infer"].get("_deterministic")]


def _ppl() -> Any:
    return sys.modules["scalemix.pyro"]
