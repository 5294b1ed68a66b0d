"""Planted faults in what models are made of: the languages, likelihoods, layers and their gates."""

from __future__ import annotations

from fault import Fault

__all__ = ["OF_MODELS"]

FORMS = "test_forms.py"
POSTERIOR = "test_posterior.py"
WRITTEN = "test_log_joints.py"
GRADIENTS = "test_gradients.py"
COMBINATIONS = "test_combinations.py"
GATES = "test_gates.py"
GATED_LAYERS = "test_gated_layers.py"
DENSE = "test_dense.py"
RESIDUAL = "test_resnet.py"
CONVOLUTION = "test_convolution.py"
RECURRENT = "test_recurrent.py"
FILTER_NOISE = "test_filter_noise.py"

OF_MODELS = {
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
        ("test_family.py", "-k", "have_the_fitted_law"),
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
    "activation_behind_the_mean": Fault(
        "models/lenet.py",
        'if pooling == "max":  # activations increase',
        "if True:",
        "of a convolution pooled by its mean the activation of the mean is taken, and not the mean of the activations",
        ("test_convolution.py", "-k", "written_out and filter-mean and pyro"),
    ),
    "gate_outside_of_the_block": Fault(
        "models/resnet.py",
        "hidden = hidden + nonlinearity(add_bias(product, bias))",
        "hidden = nonlinearity(add_bias(hidden + product, bias))",
        "the identity passes the block by, also of its nonlinearity",
        (RESIDUAL, "-k", "gates_of_the_units and pyro"),
    ),
}
