"""Ways to answer, one per file: ``recipe.fit(ppl, model, *data, seed=..., settings=recipe.Settings(...)) -> Posterior``."""

from __future__ import annotations

from scalemix.inference import coordinates, enumeration, full_rank, gibbs, hmc, low_rank, mean_field, nuts, svi

__all__ = ["coordinates", "enumeration", "full_rank", "gibbs", "hmc", "low_rank", "mean_field", "nuts", "svi"]
