"""Generative stories, one per file, each written once for Pyro and NumPyro: ``model(ppl, x, y=None, *, prior, ...)``."""

from __future__ import annotations

from scalemix.models.lenet import lenet
from scalemix.models.lifted import lifted
from scalemix.models.linear import linear
from scalemix.models.logistic import logistic
from scalemix.models.lstm import lstm
from scalemix.models.mlp import mlp
from scalemix.models.resnet import resnet

__all__ = ["lenet", "lifted", "linear", "logistic", "lstm", "mlp", "resnet"]
