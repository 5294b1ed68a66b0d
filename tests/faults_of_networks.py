"""Planted faults in lifted networks, pruning rules, shrinking, and the files and commands of smaller networks."""

from __future__ import annotations

from fault import Fault

__all__ = ["OF_NETWORKS"]

NETWORK_FILE, SHRINK_COMMAND = "test_network_file.py", "test_shrink_command.py"
FIT_COMMAND, FIT_REFUSALS = "test_fit_command.py", "test_fit_refusals.py"
LIFTING, RULES, SHRINKING, STREAMS = "test_lifting.py", "test_rules.py", "test_shrinking.py", "test_shrinking_streams.py"
NORMALIZATION = "test_normalization.py"

OF_NETWORKS = {
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
    "stranger_accepted": Fault(
        "compress/layer_text.py",
        "elif isinstance(layer, Elementwise) and layer.name not in ELEMENTWISE:",
        "elif isinstance(layer, Elementwise) and not layer.name:",
        "a file that names any function of the language would have it called",
        (NETWORK_FILE, "-k", "damaged and function"),
    ),
    "density_of_the_standardized_target": Fault(
        "jobs/network_score.py",
        "- math.log(data.target_scale)",
        "- 0.0",
        "a density per unit of y is that of the standardized y over its sd",
        (FIT_COMMAND, "-k", "score_are_those"),
    ),
    "a_stranger_s_file_taken_for_ours": Fault(
        "jobs/fit_folder.py",
        "ours = (MANIFEST, DATA) if _only_claimed(path) else ()",
        "ours = (MANIFEST, DATA)",
        "data.npz in a folder without a manifest is the user's own",
        (FIT_REFUSALS, "-k", "own_under_our_name"),
    ),
    "layers_of_one_name_overwritten": Fault(
        "compress/layer_text.py",
        'if f"{at}.{each.name}" in arrays:',
        "if arrays is None:",
        "the second of two layers of one name would take the first one's place in the file",
        (NETWORK_FILE, "-k", "one_name"),
    ),
    "tuned_weights_that_were_dropped": Fault(
        "jobs/fine_tuning.py",
        "value * self.ppl.array(self.masks[name])",
        "value",
        "what was dropped stays 0 in fine-tuning",
        (SHRINK_COMMAND, "-k", "tuning_leaves_zeros"),
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
    "a_residual_s_input_changed_in_place": Fault(
        "pyro/reading.py",
        "if len(changed.users) > 1:",
        "if False:",
        "what works in place changes what the other side of a sum reads",
        ("test_reading.py", "-k", "others_see and residual"),
    ),
    "first_of_ties_kept": Fault(
        "compress/selection.py",
        "np.lexsort((-sizes, -ranked))",
        "np.lexsort((-ranked,))",
        "of equals the largest are kept, not the first",
        (RULES, "-k", "of_ties_is_exact or tied_groups"),
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
}
