"""VIBNet's penalty on the gates N(μ, σ²) of units or filters, and the conversions between the scales it is printed and coded with.

It began as a bound on mutual information, ½[log(1 + μ²/σ²) + ψ] with ψ = log E f² − E log f²: Dai, Zhu and Wipf (2018), eq. 8
and 9. With ψ dropped, which is infinite for ReLU units, it is a regularizer: what is trained with it is no posterior, except at
``kl_scale`` = 1/N, where it is structured variational Bayesian dropout.
"""

from __future__ import annotations

from typing import Any

from scalemix.arrays import arrays, check_positives, safe_sqrt
from scalemix.checks import check_positive_int
from scalemix.divergences.vbd import bounded_gaussian_uniform

__all__ = ["vibnet", "vibnet_gamma", "vibnet_kl_scale", "vibnet_layer_gamma", "vibnet_profile"]


def vibnet(mean: Any, scale: Any, *, kl_scale: float, num_positions: int = 1) -> Any:
    """kl_scale · num_positions · ½ log(1 + μ²/σ²), to be summed over gates and added to the MEAN log-loss of a case.

    Dai, Zhu and Wipf (2018), eq. 10.

    Args:
        mean, scale: μ and σ of the gates, which broadcast. The paper's "α" is μ²/σ²; that of variational dropout is its inverse.
        kl_scale: 1/N for one gate for the whole data set, 1 for a latent gate per case, or what ``vibnet_kl_scale`` makes of a γ.
        num_positions: H·W of a filter's feature map where the penalty is summed over positions, as the released code does; else 1.

    Returns: elementwise.

    Raises: ValueError if ``kl_scale`` is not positive or ``num_positions`` no positive whole number.
    """
    check_positives(kl_scale=kl_scale)
    check_positive_int("num_positions", num_positions)
    return kl_scale * num_positions * bounded_gaussian_uniform(mean, scale)


def vibnet_kl_scale(gamma: float, *, num_layers: int, num_positions: int = 1) -> float:
    """kl_scale = 2γ/(L·num_positions): the loss L·mean-NLL + γ Σ log(1 + μ²/σ²) divided by L.

    Dai, Zhu and Wipf (2018), eq. 10. Structured variational Bayesian dropout is kl_scale = 1/N, that is γ = L/(2N).

    Args:
        gamma: γ of a layer.
        num_layers: L, the layers that have gates.
        num_positions: as for ``vibnet``.

    Raises: ValueError unless γ is positive, and L and ``num_positions`` are positive whole numbers.
    """
    check_positives(gamma=gamma)
    check_positive_int("num_layers", num_layers)
    check_positive_int("num_positions", num_positions)
    return 2.0 * gamma / (num_layers * num_positions)


def vibnet_gamma(kl_scale: float, *, num_layers: int, num_positions: int = 1) -> float:
    """γ = L·kl_scale·num_positions/2: the inverse of ``vibnet_kl_scale``. Source: Dai, Zhu and Wipf (2018), eq. 10.

    Args:
        kl_scale: as for ``vibnet``.
        num_layers, num_positions: as for ``vibnet_kl_scale``.

    Raises: ValueError unless ``kl_scale`` is positive, and L and ``num_positions`` are positive whole numbers.
    """
    check_positives(kl_scale=kl_scale)
    return kl_scale / vibnet_kl_scale(1.0, num_layers=num_layers, num_positions=num_positions)


def vibnet_layer_gamma(gamma: float, side: int, *, spatial_sum: bool = True) -> float:
    """Net weight of a filter's log(1 + μ²/σ²), γᵢ = γ′/S, which can be read in two ways: Dai, Zhu and Wipf (2018), section 5.

    Args:
        gamma: γ′, which all layers share.
        side: S of the layer's feature map, H = W = S; 1 for a dense layer.
        spatial_sum: True, as in the released code: the penalty counts each of the S² positions, so the net weight is γ′S. False, as eq. 10
            is printed: it is γ′/S.

    Raises: ValueError if γ′ is not positive or ``side`` no positive whole number.
    """
    check_positives(gamma=gamma)
    check_positive_int("side", side)
    return gamma * side if spatial_sum else gamma / side


def vibnet_profile(mean: Any, omega: Any) -> Any:
    """ρ(μ; ω) = min_σ [log(1 + μ²/σ²) + σ²/ω] = 2|μ|/(|μ| + r) + log((2ω + μ² + |μ| r)/(2ω)), r = √(μ² + 4ω).

    Dai, Zhu and Wipf (2018), eq. 19, less log 2ω.

    The penalty on μ once σ is where it should be, for a loss that grows by σ²/ω: from 2|μ|/√ω, an ℓ₁ penalty, to 1 + log(μ²/ω).
    The minimum is at σ² = |μ|(r − |μ|)/2.

    Args:
        mean, omega: μ and ω = γ/a > 0, which broadcast.

    Returns: elementwise; 0 at μ = 0.

    Raises: ValueError if ω is a number that is not positive.
    """
    check_positives(omega=omega)
    xp, mean, omega = arrays(mean, omega)
    size = xp.abs(mean)
    root = safe_sqrt(xp, mean**2 + 4.0 * omega)
    return 2.0 * size / (size + root) + xp.log1p(size * (size + root) / (2.0 * omega))
