"""Planted faults: mistakes of formulas (and of what is said of them) that the tests must notice, each a small change in one file.

``test_planted_faults.py`` (slow suite) plants them one at a time in a copy of the sources and runs the tests named beside them, which must
fail. Most are in code that both languages share, where comparing the two languages shows nothing: an outside value has to be off.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FAULTS", "Fault"]


class Fault(NamedTuple):
    """``old``, which stands once in ``file`` (below the package), becomes ``new``; ``tests`` are arguments of pytest, within ``tests/``."""

    file: str
    old: str
    new: str
    mistake: str
    tests: tuple[str, ...]


ENUMERATION, FORMS, MARGINAL, DENSITIES = "test_enumeration.py", "test_forms.py", "test_marginal.py", "test_known_densities.py"
POSTERIOR, REGISTRY, LOO = "test_posterior.py", "test_registry.py", "test_loo.py"
SCORES, CONTRASTS = "test_scores.py", "test_contrasts.py"
WRITTEN, GRADIENTS, COMBINATIONS = "test_log_joints.py", "test_gradients.py", "test_combinations.py"
ANSWERS, DEFINITIONS, DIVERGENCES = "test_divergence_answers.py", "test_divergence_definitions.py", "test_divergences.py"
GATES, GATED_LAYERS = "test_gates.py", "test_gated_layers.py"
RUNS, STARTS = "test_runs.py", "test_starts.py"
DENSE, RESIDUAL, CONVOLUTION, RECURRENT = "test_dense.py", "test_resnet.py", "test_convolution.py", "test_recurrent.py"
NETWORK = "test_network_job.py"
REFERENCE, SIMULATED = "test_reference.py", "test_simulated_calibration.py"
RECIPE_OBJECTIVES, FILTER_NOISE, SHARED_ALPHA = "test_recipe_objectives.py", "test_filter_noise.py", "test_shared_alpha.py"
PRIOR_VARIANCE = "test_prior_variance.py"
LIFTING, RULES, SHRINKING, STREAMS = "test_lifting.py", "test_rules.py", "test_shrinking.py", "test_shrinking_streams.py"
NORMALIZATION = "test_normalization.py"
GUIDES, OBJECTIVE = "test_guides.py", "test_objective.py"
TRAINING, TRAINING_FOLDER = "test_training.py", "test_training_folder.py"

FAULTS = {
    # --- laws of the noises
    "rayleigh_scale": Fault(
        "noise/unbounded.py",
        "dist.Weibull(math.sqrt(2.0) * self.scale, 2.0)",
        "dist.Weibull(self.scale, 2.0)",
        "a Rayleigh law is a Weibull law of scale √2 b, not b",
        (ENUMERATION, "-k", "integral_over_its_noise"),
    ),
    "rayleigh_concentration": Fault(
        "noise/unbounded.py",
        "dist.Weibull(math.sqrt(2.0) * self.scale, 2.0)",
        "dist.Weibull(math.sqrt(2.0) * self.scale, 1.0)",
        "Weibull concentration 1 is the law of ξ², not of ξ",
        (FORMS, "-k", "rayleigh and expanded"),
    ),
    "rayleigh_marginal": Fault(
        "noise/unbounded.py",
        "dist.Laplace(0.0, scale * self.scale)",
        "dist.Laplace(0.0, math.sqrt(2.0) * scale * self.scale)",
        "the Laplace law under Rayleigh(b) noise has scale σ₀ b, its sd is √2 times that",
        (FORMS, "-k", "rayleigh and marginal"),
    ),
    "inverse_nakagami_df": Fault(
        "noise/unbounded.py",
        "dist.InverseGamma(self.df / 2, self.df * self.scale**2 / 2)",
        "dist.InverseGamma(self.df, self.df * self.scale**2)",
        "df where df/2 belongs",
        (ENUMERATION, "-k", "laws_of_the_square"),
    ),
    "inverse_nakagami_square": Fault(
        "noise/unbounded.py",
        "dist.InverseGamma(self.df / 2, self.df * self.scale**2 / 2)",
        "dist.InverseGamma(self.df / 2, self.df * self.scale / 2)",
        "a scale where its square belongs",
        (ENUMERATION, "-k", "laws_of_the_square"),
    ),
    "inverse_nakagami_root": Fault(
        "noise/unbounded.py",
        "/ 2)  # type: ignore[operator]\n        return dist.TransformedDistribution(square, dist.transforms.PowerTransform(0.5))",
        "/ 2)\n        return dist.TransformedDistribution(square, dist.transforms.PowerTransform(1.0))",
        "ξ² sampled as ξ (not seen at ξ = 1)",
        (ENUMERATION, "-k", "integral_over_its_noise and A2"),
    ),
    "student_t_scale": Fault(
        "noise/unbounded.py",
        "dist.StudentT(self.df, 0.0, scale * self.scale)",
        "dist.StudentT(self.df, 0.0, scale)",
        "the scale of the noise is left out of the marginal",
        (ENUMERATION, "-k", "integral_over_its_noise"),
    ),
    "half_cauchy_square": Fault(
        "noise/unbounded.py",
        "dist.HalfCauchy(self.scale)",
        "dist.HalfCauchy(self.scale**2)",
        "a square of the scale",
        (ENUMERATION, "-k", "laws_of_the_square"),
    ),
    "gaussian_variance": Fault(
        "noise/unbounded.py",
        "def law(self, dist: Any) -> Any:\n        return dist.Normal(self.loc, self.scale)",
        "def law(self, dist: Any) -> Any:\n        return dist.Normal(self.loc, self.scale**2)",
        "a variance where the languages want a standard deviation",
        (ENUMERATION, "-k", "fold"),
    ),
    "gaussian_not_folded": Fault(
        "noise/unbounded.py",
        "else dist.FoldedDistribution(dist.Normal(self.loc, self.scale))",
        "else dist.Normal(self.loc, self.scale)",
        "the hierarchical form samples ξ, not |ξ|, and has a negative scale",
        (ENUMERATION, "-k", "fold"),
    ),
    "gate_high": Fault(
        "noise/gates.py",
        "self.low + (self.high - self.low) * site",
        "self.low + self.high * site",
        "the slab is wider by the spike",
        (ENUMERATION, "-k", "shared_gates or sum_over_all_gates"),
    ),
    "gate_swapped": Fault(
        "noise/gates.py",
        "dist.TwoScaleNormal(self.inclusion_prob, scale * self.low, scale * self.high, tied=tied)",
        "dist.TwoScaleNormal(self.inclusion_prob, scale * self.high, scale * self.low, tied=tied)",
        "spike and slab exchanged in the marginal form",
        (ENUMERATION, "-k", "shared_gates"),
    ),
    "dropout_rate": Fault(
        "noise/gates.py",
        "cls(inclusion_prob=1.0 - rate, high",
        "cls(inclusion_prob=rate, high",
        "the probability of dropping used as that of keeping",
        (WRITTEN, "-k", "inverted_dropout"),
    ),
    # --- priors
    "expected_active": Fault(
        "hyper.py",
        "* math.sqrt(self.num_data))",
        "* self.num_data)",
        "tau0 without the root of N",
        (WRITTEN, "-k", "written_out and numpyro-regularized-expanded"),
    ),
    "expected_active_ratio": Fault(
        "hyper.py",
        "((count - self.expected) *",
        "(count *",
        "tau0 = p₀/p in place of p₀/(p − p₀)",
        (WRITTEN, "-k", "written_out and pyro-regularized-expanded"),
    ),
    "spike_ratio": Fault(
        "priors.py",
        "low=spike_scale / slab_scale",
        "low=spike_scale",
        "the spike is in units of the slab and would be scaled twice",
        (WRITTEN, "-k", "written_out and counts-spike"),
    ),
    "laplace_scaled_twice": Fault(
        "priors.py",
        "ScaleMixture(Rayleigh(), base_scale=scale)",
        "ScaleMixture(Rayleigh(scale), base_scale=scale)",
        "the scale enters squared",
        (WRITTEN, "-k", "written_out and counts-laplace"),
    ),
    # --- tying, plan, bridge
    "tied_axis": Fault(
        "tying.py",
        "tuple(axis for axis in axes if axis in factor.axes)",
        "tuple(axis for axis in axes if axis not in factor.axes)",
        "the noise varies along the other axis",
        (REGISTRY, "-k", "a_tying_has"),
    ),
    "summed_axis": Fault(
        "plan.py",
        "enumerate(axes) if axis not in dims)",
        "enumerate(axes) if axis in dims)",
        "a shared gate is summed over the axis along which it varies",
        (ENUMERATION, "-k", "shared_gates"),
    ),
    "base_scale": Fault(
        "lower.py",
        "inner: Any = plan.base_scale",
        "inner: Any = 1.0",
        "σ₀ is left out",
        (FORMS, "-k", "rayleigh and law_of_the_prior"),
    ),
    "slab_formula": Fault(
        "lower.py",
        "cap / ppl.sqrt(cap**2 + product**2)",
        "cap / (cap + product)",
        "s c/(c + s) in place of s c/√(c² + s²)",
        (WRITTEN, "-k", "written_out and regularized"),
    ),
    "scale_lost": Fault(
        "lower.py",
        "_base_law(ppl, dist, plan, _times(inner, cell_scale), like, hyper)",
        "_base_law(ppl, dist, plan, inner, like)",
        "sigma does not scale the hierarchical form",
        (WRITTEN, "-k", "written_out and regularized-hierarchical"),
    ),
    "noise_twice": Fault(
        "lower.py",
        "outer = _times(outer, _power(xi, 1.0 - factor.centering))",
        "outer = _times(outer, _power(xi, 2.0 - 2.0 * factor.centering))",
        "ξ² multiplies the base of the expanded form",
        (FORMS, "-k", "rayleigh and expanded"),
    ),
    "never_folded": Fault(
        "lower.py",
        "noise.folded_law(dist) if factor.centering > 0.0 else",
        "noise.folded_law(dist) if factor.centering > 1.0 else",
        "the folded law is built and never applied",
        (WRITTEN, "-k", "written_out and network-hierarchical"),
    ),
    # --- densities of w
    "horseshoe_constant": Fault(
        "special.py",
        "- 0.5 * math.log(2 * math.pi**3)",
        "- 0.5 * math.log(2 * math.pi**2)",
        "√(2π²) in place of √(2π³): the density does not integrate to 1",
        (ENUMERATION, "-k", "integral_over_its_noise"),
    ),
    "horseshoe_sign": Fault(
        "pyro/distributions.py",
        "*self.params) - torch.log(self.scale)",
        "*self.params) + torch.log(self.scale)",
        "the sign of a Jacobian",
        (ENUMERATION, "-k", "integral_over_its_noise"),
    ),
    "spike_probability": Fault(
        "special.py",
        "xp.log1p(-inclusion_prob) + log_low",
        "xp.log1p(inclusion_prob) + log_low",
        "1 + π in place of 1 − π",
        (ENUMERATION, "-k", "sum_over_all_gates"),
    ),
    "log_uniform_measure": Fault(
        "noise/bounded.py",
        "dist.OnInterval(logs, dist.transforms.ExpTransform(), self.low, self.high)",
        "dist.Uniform(self.low, self.high)",
        "uniform on ξ where it is uniform on log ξ",
        (ENUMERATION, "-k", "integral_over_its_noise"),
    ),
    "uniform_variance_root": Fault(
        "noise/bounded.py",
        "dist.OnInterval(dist.Uniform(self.low, self.high), dist.transforms.PowerTransform(0.5), *ends)",
        "dist.Uniform(*ends)",
        "uniform on ξ where it is uniform on ξ²",
        (ENUMERATION, "-k", "integral_over_its_noise"),
    ),
    "spike_jacobian": Fault(
        "special.py",
        "log_low = -0.5 * (w / low) ** 2 - xp.log(low)",
        "log_low = -0.5 * (w / low) ** 2 - 2.0 * xp.log(low)",
        "a factor 2: the log of a variance",
        (ENUMERATION, "-k", "sum_over_all_gates"),
    ),
    "laplace_density": Fault(
        "closed_form.py",
        "/ scale - np.log(2 * scale)",
        "/ scale - np.log(scale)",
        "half of the Laplace density is missing",
        (DENSITIES, "-k", "known_density"),
    ),
    "responsibility": Fault(
        "marginal.py",
        "(high - low).reshape(w.shape)",
        "(low - high).reshape(w.shape)",
        "the responsibility of the spike",
        (MARGINAL, "-k", "gates or inclusion"),
    ),
    "slab_of_the_density": Fault(
        "marginal.py",
        "-0.5 * np.logaddexp(-2.0 * log_s, -2.0 * log_c)",
        "-np.logaddexp(-log_s, -log_c)",
        "1/s̃ = 1/s + 1/c in place of the sum of squares",
        (MARGINAL, "-k", "slab"),
    ),
    "inverse_nakagami_moment": Fault(
        "noise/unbounded.py",
        "special.gammaln(m - half) - special.gammaln(m) + half * math.log(m",
        "special.gammaln(m - half) - special.gammaln(m) - half * math.log(m",
        "E[ξ²] with the scale upside down",
        (DENSITIES, "-k", "moments or power_means"),
    ),
    # --- the languages
    "shared_gate_drawn": Fault(
        "numpyro/distributions.py",
        "[1 if axis - len(shape) in self.tied else size",
        "[1 if axis - len(shape) not in self.tied else size",
        "a shared gate is drawn per weight, and one for all draws",
        (FORMS, "-k", "tied and bernoulli_low-marginal and numpyro"),
    ),
    "gate_drawn": Fault(
        "pyro/distributions.py",
        "torch.where(gate, self.high_scale, low)",
        "torch.where(gate, low, self.high_scale)",
        "spike and slab exchanged in the draws of the marginal form",
        (FORMS, "-k", "bernoulli_low-marginal and pyro"),
    ),
    "minibatch_numpyro": Fault(
        "numpyro/primitives.py",
        "scale=num_data / size",
        "scale=1.0",
        "the log likelihood of a minibatch is not scaled to all data",
        (WRITTEN, "-k", "written_out and numpyro-counts-normal"),
    ),
    "minibatch_pyro": Fault(
        "pyro/primitives.py",
        "scale=num_data / size",
        "scale=size / num_data",
        "the data scaling upside down",
        (WRITTEN, "-k", "written_out and pyro-counts-normal"),
    ),
    "log_guide": Fault(
        "numpyro/svi.py",
        'log_prob(site["value"])) for site in sites.values()), jnp.zeros(()))',
        'log_prob(site["value"])) for site in sites.values() if not site["infer"].get("is_auxiliary")), jnp.zeros(()))',
        "the density of an autoguide is that of its auxiliary site, which is skipped",
        (POSTERIOR, "-k", "log_guide"),
    ),
    "noise_of_new_rows": Fault(
        "posterior.py",
        "for name in self.latents if name not in anew)",
        "for name in self.latents)",
        "gates with one fitted law are drawn from the prior at held-out rows",
        ("test_family.py", "-k", "no_density"),
    ),
    "points_have_no_density": Fault(
        "guided.py",
        "elif guide.points:",
        "elif False:",
        "k-hat and ELBO of a guide that is a point somewhere",
        ("test_family.py", "-k", "no_density"),
    ),
    "divergences_alike": Fault(
        "inference/coordinates.py",
        "TIMES_THE_LEAST * min(",
        "0.0 * min(",
        "forms that all diverge a little are told apart by which is a little above the limit",
        ("test_coordinates.py", "-k", "diverges_more"),
    ),
    # --- models and likelihoods
    "fan_in": Fault(
        "models/mlp.py",
        "fan_in**-0.5 if",
        "fan_out**-0.5 if",
        "the other axis of the matrix",
        (WRITTEN, "-k", "written_out and network"),
    ),
    "poisson_link": Fault(
        "likelihoods.py",
        "ppl.dist.Poisson(ppl.exp(output))",
        "ppl.dist.Poisson(ppl.exp(output) ** 2)",
        "the rate is squared",
        (WRITTEN, "-k", "written_out and counts-normal"),
    ),
    "student_t_outcome": Fault(
        "likelihoods.py",
        "ppl.dist.StudentT(self.df, output, sigma)",
        "ppl.dist.StudentT(self.df, output, sigma**2)",
        "a variance where a scale belongs",
        (WRITTEN, "-k", "written_out and network-expanded"),
    ),
    # --- what is reported
    "variance_parts": Fault(
        "posterior.py",
        "law.mean.mean(0), law.variance.mean(0), law.mean.var(0))",
        "law.mean.mean(0), law.mean.var(0), law.variance.mean(0))",
        "aleatoric and epistemic variance exchanged",
        (POSTERIOR, "-k", "prediction_and"),
    ),
    "case_dims": Fault(
        "fitting.py",
        "dims |= {name: (CASE,) for name, shape in structure.observed.items()",
        "dims |= {name: (CASE,) for name, shape in structure.deterministics.items()",
        "the axis names of the outcome go to the weights",
        (POSTERIOR, "-k", "groups_dims"),
    ),
    "loo_weights": Fault(
        "comparison/loo.py",
        "psis(base - flat[i],",
        "psis(base + flat[i],",
        "the left-out case weighs in twice, not zero times",
        (LOO, "-k", "test_loo"),
    ),
    "guide_ratio": Fault(
        "comparison/variational.py",
        "posterior.log_joint, dtype=float) - np.asarray",
        "posterior.log_joint, dtype=float) + np.asarray",
        "the sign of log q",
        (LOO, "-k", "khat_of or loo_of_a_guide"),
    ),
    "crps_pairs": Fault(
        "comparison/scores.py",
        "/ (size * (size - 1))",
        "/ size**2",
        "pairs of a draw with itself count in: CRPS is too large by E|X − X'|/(2S)",
        (SCORES, "-k", "pairs or unbiased"),
    ),
    "interval_of_one_side": Fault(
        "comparison/scores.py",
        "((1 - prob) / 2, (1 + prob) / 2)",
        "((1 - prob) / 2, prob)",
        "the interval ends at the quantile of its probability",
        (SCORES, "-k", "coverage_of"),
    ),
    "kernel_width": Fault(
        "comparison/distances.py",
        "block *= -0.5 / kernel.bandwidth**2",
        "block *= -1.0 / kernel.bandwidth**2",
        "exp(−d²/h²) in place of exp(−d²/(2h²))",
        (CONTRASTS, "-k", "mmd_of"),
    ),
    "sphere": Fault(
        "comparison/distances.py",
        "    directions /= np.linalg.norm(directions, axis=0)\n",
        "",
        "directions that are not of unit length",
        (CONTRASTS, "-k", "sliced"),
    ),
    "gate_of_a_scaled_layer": Fault(
        "comparison/inclusion.py",
        "np.asarray(posterior.draws[name], dtype=float) / site.scale",
        "np.asarray(posterior.draws[name], dtype=float)",
        "the weight's further scale is left out of the gate's responsibility",
        (CONTRASTS, "-k", "know_its_scale"),
    ),
    "khat_of_h": Fault(
        "comparison/variational.py",
        "ratios + 0.5 * np.log(distance)",
        "ratios + np.log(distance)",
        "the square of the distance",
        (CONTRASTS, "-k", "khat_of"),
    ),
    # --- layers
    "noise_of_rows_unscaled": Fault(
        "dense.py",
        'ppl.data_plate(rows, name=f"{name}_data")',
        'ppl.plate(f"{name}_data", rows.shape[0])',
        "in a minibatch the noise of a row counts once, its outcome num_data / rows times",
        (DENSE, "-k", "counts_as_often"),
    ),
    "scale_left_behind": Fault(
        "dense.py",
        "[*parts.noises, *parts.rest]",
        "[*parts.noises]",
        "noise on the activation without the weight's further scale",
        (DENSE, "-k", "by_hand"),
    ),
    "bias_unscaled": Fault(
        "models/resnet.py",
        "add_bias(ppl.linear(h, parts.weight), bias, tau)",
        "add_bias(ppl.linear(h, parts.weight), bias)",
        "the layer's noise does not scale the bias of its block",
        (RESIDUAL, "-k", "written_out or one_function"),
    ),
    "gate_order": Fault(
        "recurrent.py",
        "a_i, a_f, a_o, a_g = (",
        "a_f, a_i, a_o, a_g = (",
        "the input and the forget gate change places",
        (RECURRENT, "-k", "written_out"),
    ),
    "state_in_the_padding": Fault(
        "recurrent.py",
        "ppl.where(active, h_next, h)",
        "h_next",
        "the state moves on in the padding",
        (RECURRENT, "-k", "padding"),
    ),
    "kernel_turned": Fault(
        "pyro/primitives.py",
        "w.permute(3, 2, 0, 1)",
        "w.permute(3, 2, 0, 1).flip(2)",
        "a convolution where the layer is a correlation",
        (CONVOLUTION, "-k", "by_hand"),
    ),
    # --- what the reference says
    "untold_error": Fault(
        "priors.py",
        "    Raises: ValueError unless 0 < narrow_scale < wide_scale.\n",
        "",
        "an error is raised and not documented",
        (REFERENCE, "-k", "errors and NormalMixture"),
    ),
    "untold_error_elsewhere": Fault(
        "divergences/gates.py",
        "Arguments and errors as in ``hard_concrete``",
        "Arguments as in ``hard_concrete``",
        "a reference to another's arguments taken for one to its errors",
        (REFERENCE, "-k", "errors and hard_concrete_gate"),
    ),
    "untold_argument": Fault(
        "models/mlp.py",
        "        widths: hidden units per layer.\n",
        "",
        "an argument is not documented",
        (REFERENCE, "-k", "arguments and mlp"),
    ),
    "untold_source": Fault(
        "noise/unbounded.py",
        "    b is ``scale``. Nalisnick and Smyth (2018), Table 1.\n",
        "    b is ``scale``.\n",
        "a formula without its source",
        (REFERENCE, "-k", "source and Rayleigh"),
    ),
    "untold_shape": Fault(
        "language.py",
        "``(*, n, num_outputs)``, of h ``(*, n, in)``",
        "(*, n, num_outputs), of h (*, n, in)",
        "the asterisks of two shapes are taken for italics",
        (REFERENCE, "-k", "markup"),
    ),
    "square_of_a_small_scale": Fault(
        "pyro/distributions.py",
        "-0.5 * ((value - self.loc) / self.scale) ** 2",
        "-0.5 * (value - self.loc) ** 2 / self.scale**2",
        "the square of a scale leaves the range of float32 where the density does not",
        (GRADIENTS, "-k", "horseshoe-hierarchical-pyro-float32"),
    ),
    "open_gate_forgotten": Fault(
        "marginal.py",
        "return np.logaddexp(is_open, _log_density(",
        "return np.logaddexp(-math.inf + 0.0 * is_open, _log_density(",
        "P(ξ = 1) of a hard-concrete gate beside other noises is left out",
        (COMBINATIONS, "-k", "open_gate"),
    ),
    "scan_of_no_steps": Fault(
        "pyro/primitives.py",
        "return carry if length else init,",
        "return carry,",
        "the trial step of a scan of no steps moves the state",
        (RECURRENT, "-k", "no_steps"),
    ),
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
        "return 0.5 * math.log(variance) - xp.log(scale)",
        "return math.log(variance) - xp.log(scale)",
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
    # --- gates
    "evidence_determinant": Fault(
        "gate_sweep.py",
        "- 0.5 * log_det + 0.5 * owners.shape[0]",
        "- log_det + 0.5 * owners.shape[0]",
        "log |P| without its half in the evidence of a setting",
        (GATES, "-k", "known_regression and pyro"),
    ),
    "sweep_determinant": Fault(
        "gate_sweep.py",
        "0.5 * fit - 0.5 * log_det, inner",
        "0.5 * fit, inner",
        "the sweep leaves Occam's factor out",
        (GATED_LAYERS, "-k", "block_update"),
    ),
    "sweep_inverse": Fault(
        "gate_sweep.py",
        "(inverse - columns @ corner_inverse @ columns.T)",
        "inverse",
        "the block's own rows are not taken out of the inverse",
        (GATED_LAYERS, "-k", "block_update"),
    ),
    "any_gate_opens": Fault(
        "gate_sweep.py",
        "return xp.where(closed > 0.5,",
        "return xp.where(closed > 1.5,",
        "a weight under two gates is open if one of them is",
        (GATED_LAYERS, "-k", "block_update"),
    ),
    "quadrature_jacobian": Fault(
        "inference/enumeration.py",
        "np.log(t[1] - t[0]) + ends + (t if positive else 0.0)",
        "np.log(t[1] - t[0]) + ends",
        "dθ = eᵗ dt without its eᵗ",
        (GATES, "-k", "unknown_noise_scale and pyro"),
    ),
    "expanded_spike_taken_for_a_gate": Fault(
        "gated.py",
        "self._same(precision[at], fitted, np.outer(root, root))",
        "self._same(np.diagonal(precision[at]), np.diagonal(fitted), root**2)",
        "a continuous spike in the expanded form is taken for a gate that opens or closes",
        (GATED_LAYERS, "-k", "cannot_be_collapsed"),
    ),
    # --- calibration over simulated data sets
    "bias_on_the_other_side": Fault(
        "comparison/calibration.py",
        '"above" if row["mean"] < 0.5 else "below"',
        '"below" if row["mean"] < 0.5 else "above"',
        "few draws below the truth are called draws below the truth",
        (SIMULATED, "-k", "biased_fit"),
    ),
    "width_unseen": Fault(
        "comparison/calibration.py",
        "for values in (transforms, folded)",
        "for values in (transforms, transforms)",
        "a fit half as wide is let pass by a test that sees the middle alone",
        (SIMULATED, "-k", "half_as_wide"),
    ),
    # --- runs
    "resumed_from_the_start": Fault(
        "numpyro/mcmc.py",
        "resumed = last is not None",
        "resumed = False",
        "a resumed run begins its chains anew",
        (RUNS, "-k", "stopped_and_resumed and numpyro"),
    ),
    "same_random_numbers": Fault(
        "pyro/mcmc.py",
        "            _set_random(state)\n            values",
        "            values",
        "each piece draws with the random numbers of its chain's beginning",
        (RUNS, "-k", "own_driver and pyro"),
    ),
    "damage_unseen": Fault(
        "run_folder.py",
        'if checksum(file) != record["sha256"]:',
        'if len(checksum(file)) != len(record["sha256"]):',
        "a damaged segment is taken for a sound one",
        (RUNS, "-k", "damage and bit"),
    ),
    "chains_share_a_start": Fault(
        "starts.py",
        "num_chains, replace=False)",
        "num_chains, replace=True)",
        "two chains start at the same draw",
        (STARTS, "-k", "fitted_guide"),
    ),
    # --- networks
    "held_out_by_itself": Fault(
        "data.py",
        "(held - center) / spread",
        "(held - held.mean()) / spread",
        "held-out cases are centered by their own mean",
        (NETWORK, "-k", "standardized"),
    ),
    "khats_of_weights": Fault(
        "comparison/variational.py",
        "blocks = blocks_of(posterior).draws",
        "blocks = {site: posterior.draws[site] for site in posterior.latents}",
        "a network's guide is judged by its weights, whose order means nothing",
        (NETWORK, "-k", "khats_of_a_network"),
    ),
    "unscaled_figure": Fault(
        "comparison/identified_figures.py",
        "np.where(spread > 0, spread, 1.0)",
        "1.0",
        "quantities in different units share an axis that says sds",
        (NETWORK, "-k", "figure_shows"),
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
    # --- gates of filters
    "filters_and_channels_swapped": Fault(
        "dense.py",
        'IMAGE_AXES = ("height", "width", "in", "out")',
        'IMAGE_AXES = ("height", "width", "out", "in")',
        "a noise per channel of the input becomes one per filter",
        (FILTER_NOISE, "-k", "layer_by_hand and pyro"),
    ),
    "fan_in_of_a_filter": Fault(
        "models/lenet.py",
        "height * width * images.shape[-1]",
        "height * images.shape[-1]",
        "the weights into a filter are those of all pixels of its kernel",
        (FILTER_NOISE, "-k", "log_joint and pyro"),
    ),
    "gate_outside_of_the_block": Fault(
        "models/resnet.py",
        "hidden = hidden + nonlinearity(add_bias(product, bias))",
        "hidden = nonlinearity(add_bias(hidden + product, bias))",
        "the identity passes the block by, also of its nonlinearity",
        (RESIDUAL, "-k", "gates_of_the_units and pyro"),
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
    # --- lifted networks, rules and shrinking
    "torch_s_axes_turned": Fault(
        "pyro/lifting.py",
        '2: ("out", "in")',
        '2: ("in", "out")',
        "a Linear's weight is (out, in): a noise per input would be one per output",
        (LIFTING, "-k", "written_by_hand and per_in-expanded and pyro"),
    ),
    "lifted_guides_begin_anywhere": Fault(
        "guides/component.py",
        "made.noise, of_weight.initial)",
        "made.noise, None)",
        "guides do not begin at the network's own weights",
        (LIFTING, "-k", "begin_at_the_network and pyro"),
    ),
    "log_alpha_of_a_square_root": Fault(
        "compress/rules.py",
        "- 2.0 * np.log(np.abs(belief.mean))",
        "- np.log(np.abs(belief.mean))",
        "α = σ²/μ², not σ²/|μ|",
        (RULES, "-k", "log_alpha_is_read"),
    ),
    "bias_folded_without_its_activation": Fault(
        "compress/removal.py",
        "constant = ELEMENTWISE[layer.name](constant)",
        "constant = constant * 1.0",
        "a unit that reads nothing is f(b), not b",
        (SHRINKING, "-k", "folded_by_hand"),
    ),
    "constant_folded_through_padding": Fault(
        "compress/removal.py",
        "((constant == 0.0) | (layer.padding == 0))",
        "(constant == constant)",
        "at the border fewer weights read a constant",
        (SHRINKING, "-k", "those_of_the_masked_network and 1-tanh"),
    ),
    "a_branch_s_constant_forgotten": Fault(
        "compress/removal.py",
        "if added.any() else []",
        "if False else []",
        "a block that reads nothing still adds its constant",
        (STREAMS, "-k", "nothing_left"),
    ),
    "channels_of_a_stream_apart": Fault(
        "compress/removal.py",
        "            two.join(one)\n",
        "",
        "what the two sides of a sum write goes together",
        (STREAMS, "-k", "residual_network"),
    ),
    "running_variance_without_its_epsilon": Fault(
        "pyro/reading.py",
        "np.sqrt(variance + layer.eps)",
        "np.sqrt(variance)",
        "a frozen normalization divides by the root of v + ε",
        (STREAMS, "-k", "nothing_left"),
    ),
    "statistics_of_the_last_batch": Fault(
        "pyro/lifting.py",
        "layer.track_running_stats, layer.momentum = True, None",
        "layer.track_running_stats, layer.momentum = True, 1.0",
        "statistics are averaged over the batches of the pass",
        (NORMALIZATION, "-k", "recalibrated"),
    ),
    "running_statistics_while_a_guide_is_trained": Fault(
        "pyro/lifting.py",
        "            layer.track_running_stats = False\n",
        "            layer.eval()\n",
        "in training each batch has statistics of its own",
        (NORMALIZATION, "-k", "by_its_own_statistics"),
    ),
    "units_that_only_units_read_go": Fault(
        "compress/removal.py",
        "more = needed | reads[:, needed].any(axis=1)",
        "more = needed",
        "a unit of an LSTM may be read by the others alone",
        (STREAMS, "-k", "lstm_loses"),
    ),
    "outputs_counted_as_features": Fault(
        "compress/report.py",
        "if count.units))[:-1],",
        "if count.units)),",
        "r_N counts inputs and hidden units, no outputs",
        (SHRINKING, "-k", "f6"),
    ),
    "flattened_in_another_order": Fault(
        "compress/layers.py",
        "rows = np.arange(layer.weight.shape[0]).reshape(channels, -1).T.reshape(-1)",
        "rows = np.arange(layer.weight.shape[0])",
        "torch flattens channels first",
        (SHRINKING, "-k", "lifted_module_shrinks"),
    ),
}
