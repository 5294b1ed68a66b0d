"""Guides, the families a variational fit chooses from: one component for each latent site, one family a file, once for both languages."""

from __future__ import annotations

from scalemix.guides.component import Component, Target
from scalemix.guides.from_prior import FromPrior
from scalemix.guides.gate import Gate
from scalemix.guides.gaussian import Gaussian
from scalemix.guides.guide import Guide
from scalemix.guides.point import Point

__all__ = ["Component", "FromPrior", "Gate", "Gaussian", "Guide", "Point", "Target"]
