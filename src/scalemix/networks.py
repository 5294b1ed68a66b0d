"""What a probabilistic language does with somebody's network: put priors on its weights, and shrink it after a fit. Part of ``PPL``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from scalemix.plan import Parametrization

if TYPE_CHECKING:
    import numpy as np

    from scalemix.compress import Layer, Pruning, Rule, Shrunk
    from scalemix.lifting import Lifted
    from scalemix.posterior import Posterior

__all__ = ["Networks"]


class Networks(Protocol):
    """The members of ``scalemix.language.PPL`` that treat networks written elsewhere."""

    def lift(
        self,
        module: Any,
        priors: Mapping[str, Any],
        *,
        apply: Callable[..., Any] | None = None,
        parametrization: Parametrization = None,
        axes: Mapping[str, Sequence[str]] | None = None,
    ) -> Lifted:
        """Somebody's network with priors on its weights: ``net = ppl.lift(module, {...})`` is random, ``net(x)`` samples and applies it.

        Args:
            module: a ``torch.nn.Module`` in Pyro; in NumPyro a pytree of weights, as an Equinox module. It is not touched; its weights are
                where guides begin.
            priors: pattern of names (``fnmatch``) to prior, the first that matches counts; arrays that none matches, or one with ``None``,
                are left alone and stay at their values. ``str(net)`` is a table of it.
            apply: ``apply(module, *inputs)``; by default ``module(*inputs)``, of an Equinox module for each row.
            parametrization: of the weights, as for ``weight``.
            axes: pattern to names of the axes, where those found do not fit: ("out", "in") for a matrix of torch, Equinox and their
                embeddings ("in", "out"), ("in", "out") for other matrices in JAX; convolutions add "height" and "width", LSTMs "gate".

        Sites: an array's own name, ``fc1.weight``, and beside it those of ``weight``.

        Raises:
            ValueError: a pattern matches nothing; nothing gets a prior; a prior does not fit its array; dropout is in training mode, or
                batch normalization, except in Pyro, where a guide may be trained with it (``recalibrate``).
            TypeError: it is no network of the language, or no prior.
        """
        ...

    def recalibrate(
        self,
        model: Callable[..., Any],
        values: Mapping[str, Any],
        *data: Any,
        batch_size: int | None = None,
        batches: Iterable[tuple] | None = None,
    ) -> Callable[..., Any]:
        """The ``model`` with its batch normalization frozen at the mean statistics of one pass over the ``data``.

        While a guide is trained, a lifted module in training mode normalizes by each batch. Recipes that train one end with this, at the
        medians of the guide: afterwards each row has an output of its own. Call it where the data are others than those of the fit, with
        ``posterior.model``. As ``torch.optim.swa_utils.update_bn`` does, it averages over batches of equal size.

        Args:
            model: one to whose options lifted networks belong: ``partial(models.lifted, net=net)``; others come back as they are.
            values: of its latent sites.
            data: as the model takes them, cases first.
            batch_size: rows of a batch, as in the training, ``None`` for all; what is left at the end is not used.
            batches: in place of ``data``: tuples of what the model takes, each of which is used.

        Source: Ioffe and Szegedy (2015), algorithm 2.
        """
        ...

    def shrink(
        self,
        posterior: Posterior,
        rule: Rule | str | Pruning,
        *,
        fraction: float | None = None,
        score: Callable[[Pruning], float] | None = None,
        most_loss: float | None = None,
        sparse: float = 0.0,
    ) -> Shrunk:
        """A smaller dense network from the posterior means of a fit: inputs, units, channels and residual blocks without effect are gone.

        Its outputs are those of the network with the dropped weights at 0, to rounding: a unit that only its bias drives goes into the next
        bias, and batch normalization into the layer before it. A channel of a residual stream goes where nothing reads it, and a block
        whose branch is constant becomes that constant. A noise that multiplies more than its weight is 0 where all of that is dropped.
        In Pyro ``.module`` is a ``torch.nn.Module``, in NumPyro a compiled function; ``.report`` says what was saved.

        Args:
            posterior: of ``models.mlp``, ``lenet``, ``resnet`` or ``lstm``, or of ``models.lifted`` with a torch module of Linear, Conv2d,
                BatchNorm, ReLU, Tanh, Sigmoid, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1) and Flatten, one after the other or as sums of
                two branches, and an LSTM's last state, or with an ``eqx.nn.MLP`` or ``eqx.nn.Sequential`` of layers one after the other.
            rule: a ``compress.Rule``, its name, or what ``compress.prune`` gave.
            fraction, score, most_loss: as for ``compress.prune``.
            sparse: matrices of which at most this part is not 0 become sparse tensors, in compressed rows in Pyro, coordinates in NumPyro.
                Of LeNet-300-100 on a CPU that is no faster at batch 1. At batch 128 it is up to 0.05 in Pyro, and up to 0.01 in NumPyro,
                where at 0.05 it is slower. With whole units gone a network is faster still without it (``benchmarks/shrunk.py``).

        Raises: ValueError if the rule does not fit the posterior, the network is not made of such layers, a layer would be
            empty, or sparse is no part.
        """
        ...

    def build(self, layers: Sequence[Layer], inputs: np.ndarray | None, sparse: float = 0.0) -> Callable[..., Any]:
        """The ``layers`` as a network of the language: a ``torch.nn.Module`` in Pyro, a compiled function in NumPyro.

        Args:
            layers: as in ``scalemix.compress``; images have their channels last unless the first layer is ``ChannelsLast``.
            inputs: indices of the inputs that the first weight reads; ``None`` for all.
            sparse: as for ``shrink``.
        """
        ...
