"""Planted faults: mistakes of formulas (and of what is said of them) that the tests must notice, each a small change in one file.

``test_planted_faults.py`` (slow suite) plants them one at a time in a copy of the sources and runs the tests named beside them, which must
fail. Most are in code that both languages share, where comparing the two languages shows nothing: an outside value has to be off.
"""

from __future__ import annotations

from fault import Fault
from faults_of_laws import OF_LAWS
from faults_of_models import OF_MODELS
from faults_of_networks import OF_NETWORKS
from faults_of_reports import OF_REPORTS

__all__ = ["FAULTS", "Fault"]

ANSWERS, DEFINITIONS, DIVERGENCES = "test_divergence_answers.py", "test_divergence_definitions.py", "test_divergences.py"
RECIPE_OBJECTIVES, SHARED_ALPHA = "test_recipe_objectives.py", "test_shared_alpha.py"
PRIOR_VARIANCE = "test_prior_variance.py"
GUIDES, OBJECTIVE = "test_guides.py", "test_objective.py"
TRAINING, TRAINING_FOLDER = "test_training.py", "test_training_folder.py"

FAULTS = {
    **OF_LAWS,
    **OF_MODELS,
    **OF_NETWORKS,
    **OF_REPORTS,
    # --- divergences
    "sbnn_half": Fault(
        "divergences/sbnn.py",
        "- xp.log(values[1]) - 0.5",
        "- xp.log(values[1])",
        "the paper's R, which is the KL + ½",
        (DEFINITIONS, "-k", "collapsed_is_the_least"),
    ),
    "sbnn_second_moment": Fault(
        "divergences/sbnn.py",
        "second_moment = mean**2 + scale**2",
        "second_moment = mean + scale**2",
        "algorithm 1 as printed: m without its square",
        (ANSWERS, "-k", "known_answer and (G2 or G3)"),
    ),
    "gamma_of_all_layers": Fault(
        "divergences/bottleneck.py",
        "return 2.0 * gamma / (num_layers * num_positions)",
        "return gamma / (num_layers * num_positions)",
        "the ½ of VIBNet's KL lost in the conversion",
        ("test_dropout_identities.py", "-k", "gamma_l_over_2n and torch"),
    ),
    "gradient_at_closed_gates": Fault(
        "arrays.py",
        "return x * xp.log(xp.where(x > TINY, x, TINY))",
        "return xp.where(x > TINY, x * xp.log(xp.where(x > TINY, x, TINY)), 0.0)",
        "a closed gate gets no pull from the entropy, so it stays closed",
        (DIVERGENCES, "-k", "gates_at_0_and_1"),
    ),
    "gamma_is_a_variance": Fault(
        "divergences/vbd.py",
        "0.5 * (math.log(variance) - log_variance",
        "0.5 * (2.0 * math.log(variance) - log_variance",
        "bounds of VBD's γ taken for those of a standard deviation",
        (DEFINITIONS, "-k", "collapsed_is_the_least"),
    ),
    "sign_of_the_selection": Fault(
        "divergences/dynamic.py",
        '"abs": lambda xp, w: xp.abs(w)',
        '"abs": lambda xp, w: -xp.abs(w)',
        "small weights selected where the text says large",
        ("test_dynamic_regularizer.py", "-k", "as_printed"),
    ),
    # --- training
    "rates_fall_to_zero": Fault(
        "training/schedules.py",
        "return 1.0 - (1.0 - decay) * u",
        "return 1.0 - u",
        "a linear schedule falls to 0 whatever decay is",
        (TRAINING, "-k", "schedules_against"),
    ),
    "small_batch_counts_in_full": Fault(
        "training/loop.py",
        "weights[-1] = feed.rest / feed.rows",
        "weights[-1] = 1.0",
        "the smaller last batch of an epoch weighs as much as the others in its mean",
        (TRAINING, "-k", "averaged_over_an_epoch and smaller"),
    ),
    "same_order_in_each_epoch": Fault(
        "numpyro/training.py",
        "self._order(keys, first_epoch + number)",
        "self._order(keys, number)",
        "a call of the program shuffles as the first one did, so that a resumed run differs",
        (TRAINING_FOLDER, "-k", "stopped_run and numpyro and arrays"),
    ),
    "generator_forgotten": Fault(
        "pyro/training.py",
        'set_state(torch.as_tensor(state["generator"]))',
        "del set_state",
        "training that goes on inside of an epoch draws with the random numbers of its beginning",
        (TRAINING_FOLDER, "-k", "stopped_run and pyro and arrays"),
    ),
    "stopped_while_the_kl_grows": Fault(
        "training/stopping.py",
        "grown = math.ceil(settings.kl_schedule[1]) if settings.kl_schedule else 0",
        "grown = 0",
        "losses under a growing weight of the KL are compared",
        (TRAINING, "-k", "not_while_the_kl_grows and numpyro"),
    ),
    # --- guides and objectives
    "local_reparametrization_variance": Fault(
        "local_reparametrization.py",
        "layer(h, self.loc), layer(h * h, self.variance)",
        "layer(h, self.loc), layer(h, self.variance)",
        "the variance of a pre-activation is that of the weights times the squared input",
        ("test_local_reparametrization.py", "-k", "mean_and_variance"),
    ),
    "objective_unweighted": Fault(
        "objective.py",
        "return nll + kl_weight * kl,",
        "return kl_weight * nll + kl,",
        "the schedule weights the divergence, not the likelihood",
        (OBJECTIVE, "-k", "by_hand and pyro and GaussianUniformMaximized"),
    ),
    "layer_scale_of_bounds": Fault(
        "variational_priors.py",
        "low=self.low * scale**2, high=self.high * scale**2",
        "low=self.low * scale, high=self.high * scale",
        "the bounds are of a variance: a layer's scale multiplies them squared",
        (GUIDES, "-k", "bounds"),
    ),
    # --- guides of VIBNet, the horseshoe, concrete dropout and the dynamic regularizer
    "gate_variance_for_its_root": Fault(
        "guides/gate.py",
        "vibnet(loc, xp.exp(0.5 * log_variance)",
        "vibnet(loc, xp.exp(log_variance)",
        "the penalty of a gate takes σ², where σ is asked for",
        (RECIPE_OBJECTIVES, "-k", "counted_once"),
    ),
    "split_scale_too_wide": Fault(
        "guides/log_normal.py",
        "xp.logaddexp(first, second) - 2.0 * float(np.log(2.0))",
        "xp.logaddexp(first, second) - float(np.log(2.0))",
        "λ = √(ab) halves the logarithm: its variance is a quarter of the sum",
        (RECIPE_OBJECTIVES, "-k", "split_scale"),
    ),
    "rate_penalty_for_each_row": Fault(
        "guides/concrete.py",
        "num_data=self.num_data",
        "num_data=1",
        "the penalty of a layer's rate counts once for each row",
        (RECIPE_OBJECTIVES, "-k", "penalty_of_concrete"),
    ),
    "weights_of_this_step": Fault(
        "guides/selective_point.py",
        'last if self.refresh_every == 1 else params["loc"]',
        'params["loc"]',
        "w_old is the weight itself, and the momentum has no effect",
        (RECIPE_OBJECTIVES, "-k", "step_before"),
    ),
    # --- a shared α, and γ as a point
    "one_divergence_for_each_alpha": Fault(
        "pyro/variational.py",
        "return p.prior.divergence_at(q.log_alpha).expand(q.batch_shape)",
        "return p.prior.divergence_at(q.log_alpha) / q.log_alpha.new_ones(q.batch_shape).sum() * q.log_alpha.numel()",
        "the divergence of an α that weights share counts once for each of them",
        (SHARED_ALPHA, "-k", "by_hand and pyro and in"),
    ),
    "alpha_for_its_root": Fault(
        "numpyro/variational.py",
        "jnp.exp(0.5 * log_alpha) * jnp.abs(loc)",
        "jnp.exp(log_alpha) * jnp.abs(loc)",
        "α θ² is the variance, not α θ the standard deviation",
        (SHARED_ALPHA, "-k", "by_hand and numpyro"),
    ),
    "mask_of_a_shared_alpha_by_the_variance": Fault(
        "pyro/variational.py",
        "return self.log_alpha.detach() <= above\n",
        "return 2.0 * torch.log(self.scale.detach()) <= above\n",
        "what is masked is said by α, not by the variance",
        (SHARED_ALPHA, "-k", "masked and pyro"),
    ),
    "gamma_for_its_root": Fault(
        "guides/prior_variance.py",
        "prior_scale=xp.exp(0.5 * log_gamma)",
        "prior_scale=xp.exp(log_gamma)",
        "γ is a variance",
        (PRIOR_VARIANCE, "-k", "plugged and pyro"),
    ),
    "gamma_without_bounds": Fault(
        "guides/prior_variance.py",
        "return clip(xp, log_gamma, low, high)",
        "return log_gamma + 0.0 * (low == high)",
        "γ is held within the prior's bounds",
        (PRIOR_VARIANCE, "-k", "plugged and pyro"),
    ),
    "bounds_of_gamma_without_the_layers_scale": Fault(
        "inference/vbd.py",
        "site.prior.scaled(site.scale)",
        "site.prior.scaled(None)",
        "the bounds of γ take the layer's scale squared",
        (PRIOR_VARIANCE, "-k", "bounds_take"),
    ),
}
