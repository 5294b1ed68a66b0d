"""Each closed-form divergence, bound and penalty of the dropout family once, on NumPy, torch or JAX arrays, with their gradients.

Elementwise and in nats unless said otherwise: sum them, and add them to the summed negative log-likelihood. torch arrays need
``import scalemix.pyro``, JAX arrays ``import scalemix.numpyro``.

    KL of two proper laws     normal, bernoulli, log_normal_gamma, log_normal_inverse_gamma, spike_slab, truncated_log_uniform
    least over a parameter    gaussian_uniform, bounded_gaussian_uniform, collapsed_spike_slab, vibnet_profile
    up to a constant          log_uniform, ridge, concrete_dropout
    a bound                   expected_squared_error, dynamic_regularizer_bound
    of no posterior           vibnet, hard_concrete, dynamic_regularizer, projected_cross_entropy
    what goes into them       log_alpha, gaussian_uniform_variance, inclusion, minibatch_weights, selection, hard_concrete_gate,
                              truncated_log_uniform_moments, vibnet_gamma, vibnet_kl_scale, vibnet_layer_gamma

Example:
    >>> import torch, scalemix as sm, scalemix.pyro
    >>> sm.divergences.gaussian_uniform(sm.divergences.log_alpha(torch.tensor([0.5]), torch.tensor([0.1]))).sum()
"""

from __future__ import annotations

from scalemix.divergences.bottleneck import vibnet, vibnet_gamma, vibnet_kl_scale, vibnet_layer_gamma, vibnet_profile
from scalemix.divergences.dropout import concrete_dropout, expected_squared_error, ridge
from scalemix.divergences.dynamic import dynamic_regularizer, dynamic_regularizer_bound, projected_cross_entropy, selection
from scalemix.divergences.gates import hard_concrete, hard_concrete_gate
from scalemix.divergences.sbnn import collapsed_spike_slab, inclusion, minibatch_weights, spike_slab
from scalemix.divergences.standard import bernoulli, log_normal_gamma, log_normal_inverse_gamma, normal
from scalemix.divergences.structured_pruning import truncated_log_uniform, truncated_log_uniform_moments
from scalemix.divergences.variational_dropout import log_alpha, log_uniform
from scalemix.divergences.vbd import bounded_gaussian_uniform, gaussian_uniform, gaussian_uniform_variance

__all__ = [
    "bernoulli",
    "bounded_gaussian_uniform",
    "collapsed_spike_slab",
    "concrete_dropout",
    "dynamic_regularizer",
    "dynamic_regularizer_bound",
    "expected_squared_error",
    "gaussian_uniform",
    "gaussian_uniform_variance",
    "hard_concrete",
    "hard_concrete_gate",
    "inclusion",
    "log_alpha",
    "log_normal_gamma",
    "log_normal_inverse_gamma",
    "log_uniform",
    "minibatch_weights",
    "normal",
    "projected_cross_entropy",
    "ridge",
    "selection",
    "spike_slab",
    "truncated_log_uniform",
    "truncated_log_uniform_moments",
    "vibnet",
    "vibnet_gamma",
    "vibnet_kl_scale",
    "vibnet_layer_gamma",
    "vibnet_profile",
]
