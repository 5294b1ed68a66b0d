"""From a posterior to a smaller network: which weights, units and channels a rule drops, what is left, and what that saves.

1. ``Rule`` measures each weight, or each group of weights that share a noise: log α, signal-to-noise, inclusion probability, …
2. ``prune`` drops by the rule's threshold, to a kept fraction, or as far as a validation score allows.
3. ``ppl.shrink`` removes what is then without effect from the dense network, and reports. Masked and shrunk network have the same
   outputs, to rounding.
4. ``shrunk.save(path)`` writes it to a file of safetensors, ``load(path, ppl)`` reads it again in either language.
"""

from __future__ import annotations

from scalemix.compress.beliefs import Belief, beliefs
from scalemix.compress.importance import Selection, feature_importance, feature_scores, select_features
from scalemix.compress.latency import latency
from scalemix.compress.layers import (
    Affine,
    ChannelsLast,
    Channelwise,
    Elementwise,
    Flatten,
    Images,
    Layer,
    Lstm,
    Pool,
    Residual,
    apply_layers,
)
from scalemix.compress.network import Network, load
from scalemix.compress.removal import removed
from scalemix.compress.report import Report, costs, report
from scalemix.compress.rules import RULES, Rule
from scalemix.compress.selection import Pruning, prune
from scalemix.compress.shrinking import Shrunk

__all__ = [
    "RULES",
    "Affine",
    "Belief",
    "ChannelsLast",
    "Channelwise",
    "Elementwise",
    "Flatten",
    "Images",
    "Layer",
    "Lstm",
    "Network",
    "Pool",
    "Pruning",
    "Report",
    "Residual",
    "Rule",
    "Selection",
    "Shrunk",
    "apply_layers",
    "beliefs",
    "costs",
    "feature_importance",
    "feature_scores",
    "latency",
    "load",
    "prune",
    "removed",
    "report",
    "select_features",
]
