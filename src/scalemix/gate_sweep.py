"""Gates with the weights integrated out: evidence of a setting, Gibbs updates of blocks of gates, weights given gates.

With the quadratic form of ``scalemix.gated``, c, b and P of gates g at θ,

    log p(y, g, θ) = c + ½ bᵀP⁻¹b − ½ log|P| + ½ D log 2π.

For a block B of gates that own the weights S, R the rest, only rows S of P change, so with C = P_RR⁻¹ (a correction of rank |S| of the
inverse at hand, and not an inversion)

    log p(g_B | g_rest, y, θ) = c + ½ μᵀΣ⁻¹μ − ½ log|Σ| + const,   Σ = P_SS − P_SR C P_RS,   μ = b_S − P_SR C b_R.

Written once for NumPy, JAX and torch: ``xp`` is the module whose arrays they are. Source: E. I. George and R. E. McCulloch, "Approaches for
Bayesian variable selection" (1997), section 3, in the information form.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from scalemix.gated import GatedLayer

__all__ = [
    "Blocks",
    "Forms",
    "Update",
    "all_settings",
    "block_update",
    "form_at",
    "log_evidence",
    "make_blocks",
    "make_forms",
    "padded",
    "updated_inverse",
]


class Forms(NamedTuple):
    """The quadratic form at one θ for every setting of the gates: closed c(0), b(0), P(0), and what opening them adds."""

    constant: Any
    log_odds: Any
    linear: Any
    linear_change: Any
    precision: Any
    precision_change: Any


class Blocks(NamedTuple):
    """Blocks of n gates for the sweep: gates (B, n), their 2ⁿ settings (2ⁿ, n), the weights (B, s) they own, padded, and the others."""

    gates: Any
    settings: Any
    weights: Any
    rest: Any
    owners: Any


class Update(NamedTuple):
    """One block's log weights (2ⁿ,), and what the inverse of each setting's P is made of."""

    log_weights: Any
    inner: Any
    rows: Any
    schur_inverse: Any


def all_settings(num_gates: int) -> np.ndarray:
    """Every setting of the gates, (2ᴷ, K)."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=num_gates))).reshape(-1, num_gates)


def make_forms(quadratic: Any, constants: Any, zeros: Any, ones: Any) -> Forms:
    """Forms from ``quadratic(gates) -> (c, b, P)`` and ``constants() -> c(eₖ) (K,)``, both at one θ."""
    constant, linear, precision = quadratic(zeros)
    _, open_linear, open_precision = quadratic(ones)
    return Forms(constant, constants() - constant, linear, open_linear - linear, precision, open_precision - precision)


def form_at(xp: Any, forms: Forms, owners: Any, gates: Any) -> tuple[Any, Any, Any]:
    """c (*), b (*, D) and P (*, D, D) at settings of the gates (*, K)."""
    m = _open(xp, owners, gates)
    precision = forms.precision + m[..., :, None] * m[..., None, :] * forms.precision_change
    return forms.constant + gates @ forms.log_odds, forms.linear + m * forms.linear_change, precision


def log_evidence(xp: Any, forms: Forms, owners: Any, gates: Any) -> Any:
    """log p(y, g, θ) (*) with the weights integrated out."""
    constant, linear, precision = form_at(xp, forms, owners, gates)
    solved = xp.linalg.solve(precision, linear[..., None])[..., 0]
    log_det = xp.linalg.slogdet(precision)[1]
    return constant + 0.5 * (linear * solved).sum(-1) - 0.5 * log_det + 0.5 * owners.shape[0] * math.log(2.0 * math.pi)


def make_blocks(layer: GatedLayer, gates: np.ndarray) -> Blocks:
    """The sweep over blocks of gates (B, n); weights are padded to one number for all blocks with columns that are nobody's."""
    members = [np.flatnonzero(layer.owners[:, block].any(1)) for block in gates]
    width = max(1, *(len(each) for each in members))
    missing = max(width - len(each) for each in members)
    size = layer.num_weights
    weights = np.array([np.concatenate([each, size + np.arange(width - len(each))]) for each in members]).astype(int)
    rest = np.ones((len(gates), size + missing))
    np.put_along_axis(rest, weights, 0.0, axis=1)
    owners = np.vstack([layer.owners, np.zeros((missing, layer.num_gates), dtype=bool)])
    return Blocks(gates, all_settings(gates.shape[1]), weights, rest, owners)


def padded(xp: Any, forms: Forms, size: int) -> Forms:
    """Forms with further weights that nothing depends on, N(0, 1) each: (D, D) → (size, size)."""
    extra = size - forms.linear.shape[0]
    if extra == 0:
        return forms
    matrix = ((0, extra), (0, extra))
    unit = xp.asarray(np.diag(np.r_[np.zeros(size - extra), np.ones(extra)]))
    return forms._replace(
        linear=xp.pad(forms.linear, (0, extra)),
        linear_change=xp.pad(forms.linear_change, (0, extra)),
        precision=xp.pad(forms.precision, matrix) + unit,
        precision_change=xp.pad(forms.precision_change, matrix),
    )


def block_update(xp: Any, forms: Forms, owners: Any, inverse: Any, proposals: Any, weights: Any, rest: Any) -> Update:
    """Log weights of the settings of one block; ``proposals`` (2ⁿ, K) differ in its gates alone, ``inverse`` is P⁻¹ at one of them."""
    columns = inverse[:, weights]
    corner_inverse, _ = _inverse(xp, columns[weights])
    inner = (inverse - columns @ corner_inverse @ columns.T) * rest[:, None] * rest[None, :]
    m = _open(xp, owners, proposals)
    own = m[:, weights]
    across = forms.precision[weights] + own[:, :, None] * m[:, None, :] * forms.precision_change[weights]
    linear = forms.linear + m * forms.linear_change
    rows = across @ inner
    schur = across[:, :, weights] - rows @ xp.swapaxes(across, 1, 2)
    mean = linear[:, weights] - (rows @ linear[:, :, None])[..., 0]
    schur_inverse, log_det = _inverse(xp, schur)
    fit = (mean * (schur_inverse @ mean[:, :, None])[..., 0]).sum(-1)
    return Update(proposals @ forms.log_odds + 0.5 * fit - 0.5 * log_det, inner, rows, schur_inverse)


def updated_inverse(update: Update, choice: Any, weights_one_hot: Any) -> Any:
    """P⁻¹ at the chosen setting; ``weights_one_hot`` (s, D) picks the block's weights."""
    difference = update.rows[choice] - weights_one_hot
    return update.inner + difference.T @ update.schur_inverse[choice] @ difference


def _open(xp: Any, owners: Any, gates: Any) -> Any:
    """m (*, D): 1 where every gate that owns the weight is open, from gates (*, K) in {0, 1}."""
    closed = (1.0 - gates) @ (owners.T * 1.0)
    return xp.where(closed > 0.5, 0.0 * closed, 0.0 * closed + 1.0)


def _inverse(xp: Any, matrices: Any) -> tuple[Any, Any]:
    """Inverse and log determinant of positive definite matrices (*, s, s)."""
    if matrices.shape[-1] == 1:
        return 1.0 / matrices, xp.log(matrices[..., 0, 0])
    return xp.linalg.inv(matrices), xp.linalg.slogdet(matrices)[1]
