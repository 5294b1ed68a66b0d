"""Training steps of three other libraries, each with the weight of its KL set right: nll + KL summed over all weights, divided by N.

bayesian-torch averages the KL over the entries of a tensor, so each is multiplied by their number; torchbnn's ``BKLLoss`` sums them with
reduction="sum"; blitz gives one draw of log q − log p, summed. Followed to the letter, their own examples weigh the KL 95 times too weakly,
44 times too weakly, and N times too strongly.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

PEERS = ("bayesian-torch", "blitz", "torchbnn")


def peer(name: str, sizes: tuple, arrays: tuple, batch: int, num_steps: int, rate: float, noise_sd: float) -> Callable[[], None]:
    """A function that takes the steps of a round."""
    import torch
    from torch import nn

    x, y = (torch.as_tensor(each) for each in arrays)
    net, divergence = {"bayesian-torch": _bayesian_torch, "blitz": _blitz, "torchbnn": _torchbnn}[name](sizes)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, fused=True)
    cross_entropy = nn.CrossEntropyLoss()

    def fit(h: Any, y: Any) -> Any:
        return cross_entropy(h, y) if sizes[-1] > 1 else (0.5 * ((y - h[:, 0]) / noise_sd) ** 2).mean()

    def steps() -> None:
        per_epoch = len(x) // batch
        for step in range(num_steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(x))
            index = order[step % per_epoch * batch :][:batch]
            inputs, outputs = (x[index], y[index]) if batch < len(x) else (x, y)
            loss = fit(net(inputs), outputs) + divergence() / len(x)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return steps


def _stacked(layers: list) -> Any:
    from torch import nn

    return nn.Sequential(*(part for layer in layers[:-1] for part in (layer, nn.ReLU())), layers[-1])


def _pairs(sizes: tuple) -> list[tuple[int, int]]:
    return list(pairwise(sizes))


def _bayesian_torch(sizes: tuple) -> tuple[Any, Callable[[], Any]]:
    import torch
    from bayesian_torch.layers import LinearReparameterization

    layers = [LinearReparameterization(*pair) for pair in _pairs(sizes)]
    for layer in layers:
        layer.dnn_to_bnn_flag = True  # forward returns the output alone

    def divergence() -> Any:
        total = torch.zeros(())
        for layer in layers:
            for part in ("weight", "bias"):
                mean, rho = getattr(layer, f"mu_{part}"), getattr(layer, f"rho_{part}")
                prior = (getattr(layer, f"prior_{part}_mu"), getattr(layer, f"prior_{part}_sigma"))
                total = total + mean.numel() * layer.kl_div(mean, torch.log1p(torch.exp(rho)), *prior)
        return total

    return _stacked(layers), divergence


def _blitz(sizes: tuple) -> tuple[Any, Callable[[], Any]]:
    from blitz.losses import kl_divergence_from_nn
    from blitz.modules import BayesianLinear

    net = _stacked([BayesianLinear(*pair) for pair in _pairs(sizes)])
    return net, lambda: kl_divergence_from_nn(net)


def _torchbnn(sizes: tuple) -> tuple[Any, Callable[[], Any]]:
    import torchbnn

    net = _stacked(
        [torchbnn.BayesLinear(prior_mu=0, prior_sigma=0.1, in_features=first, out_features=last) for first, last in _pairs(sizes)]
    )
    loss = torchbnn.BKLLoss(reduction="sum", last_layer_only=False)
    return net, lambda: loss(net).sum()
