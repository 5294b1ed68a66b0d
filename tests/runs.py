"""A small model and short settings for the tests of runs, and the child process that such a test kills."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.identified import identified_by
from scalemix.inference import nuts

Y = np.random.default_rng(5).normal(1.0, 0.7, size=6)
SEGMENT = 8


@identified_by("mean", "scale")
def model(ppl: Any, y: Any = None) -> None:
    mean = ppl.sample("mean", ppl.dist.Normal(0.0, 2.0))
    scale = ppl.sample("scale", ppl.dist.LogNormal(0.0, 0.5))
    ppl.deterministic("ratio", mean / scale)
    with ppl.data_plate(y):
        ppl.sample("y", ppl.dist.Normal(mean, scale), obs=y)


def brief(**changes: Any) -> nuts.Settings:
    settings = {"num_warmup": 20, "num_draws": 20, "num_chains": 2, "max_tree_depth": 3, "chain_method": "sequential", "progress": False}
    return nuts.Settings(**settings | changes)


def same_bits(one: Any, other: Any) -> None:
    """Two posteriors have the same draws, statistics and densities, to the last bit."""
    for part in ("draws", "sample_stats", "log_likelihood", "identified", "observed", "constant"):
        ours, theirs = getattr(one, part), getattr(other, part)
        assert list(ours) == list(theirs)
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name])
            assert value.dtype == theirs[name].dtype
    np.testing.assert_array_equal(one.log_joint, other.log_joint)
    assert (one.latents, one.coords) == (other.latents, other.coords)
    assert {name: dims for name, dims in one.dims.items() if dims}.items() <= other.dims.items()


def run(folder: Path, num_draws: int) -> Any:
    import scalemix.numpyro

    settings = brief(num_draws=num_draws)
    return nuts.fit(scalemix.numpyro, model, Y, seed=3, settings=settings, folder=folder, segment_draws=SEGMENT, resume=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
