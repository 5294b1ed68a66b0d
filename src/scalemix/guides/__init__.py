"""Guides, the families a variational fit chooses from: one component for each latent site, one family a file, once for both languages."""

from __future__ import annotations

from scalemix.guides.component import Component, Target
from scalemix.guides.concrete import Concrete
from scalemix.guides.from_prior import FromPrior
from scalemix.guides.gate import Gate
from scalemix.guides.gaussian import Gaussian
from scalemix.guides.guide import Guide
from scalemix.guides.log_normal import LogNormal
from scalemix.guides.multiplicative import Multiplicative
from scalemix.guides.point import Point
from scalemix.guides.prior_variance import PriorVariance
from scalemix.guides.selective_point import SelectivePoint
from scalemix.guides.spike_slab import SpikeSlab

__all__ = [
    "Component",
    "Concrete",
    "FromPrior",
    "Gate",
    "Gaussian",
    "Guide",
    "LogNormal",
    "Multiplicative",
    "Point",
    "PriorVariance",
    "SelectivePoint",
    "SpikeSlab",
    "Target",
]
