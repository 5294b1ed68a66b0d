"""Planted faults in what a prior says: laws of the noises, named priors, tying and parametrization, densities of w."""

from __future__ import annotations

from fault import Fault

__all__ = ["OF_LAWS"]

ENUMERATION = "test_enumeration.py"
FORMS = "test_forms.py"
MARGINAL = "test_marginal.py"
DENSITIES = "test_known_densities.py"
REGISTRY = "test_registry.py"
WRITTEN = "test_log_joints.py"

OF_LAWS = {
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
}
