"""Planted faults in what is reported of a fit: predictions, scores and distances, calibration, runs in folders, what the reference says."""

from __future__ import annotations

from fault import Fault

__all__ = ["OF_REPORTS"]

POSTERIOR = "test_posterior.py"
LOO = "test_loo.py"
SCORES = "test_scores.py"
CONTRASTS = "test_contrasts.py"
RUNS = "test_runs.py"
STARTS = "test_starts.py"
NETWORK = "test_network_job.py"
REFERENCE = "test_reference.py"
SIMULATED = "test_simulated_calibration.py"

OF_REPORTS = {
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
        "files.py",
        "if checksum(file) != sha256:",
        "if len(checksum(file)) != len(sha256):",
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
}
