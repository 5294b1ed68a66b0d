"""Pytrees of weights with priors on them, Equinox modules among them. Contract: ``scalemix.language.PPL.lift``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey, keystr, tree_flatten_with_path, tree_leaves, tree_unflatten

from scalemix.compress import Layer
from scalemix.language import PPL
from scalemix.lifting import Lifted, LiftedArray, generic_axes, matched
from scalemix.local_reparametrization import Unsampled
from scalemix.numpyro.shrinking import layers_of_tree
from scalemix.plan import Parametrization

__all__ = ["LiftedTree", "lift", "recalibrate"]

SPATIAL = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}


class LiftedTree(Lifted):
    """A pytree with priors on its arrays."""

    def __init__(self, tree: Any, arrays: tuple[LiftedArray, ...], function: Callable[..., Any], parametrization: Parametrization) -> None:
        super().__init__(arrays, type(tree).__name__, parametrization)
        self.tree, self.function = tree, function

    def language(self) -> PPL:
        return sys.modules["scalemix.numpyro"]  # type: ignore[return-value]

    def apply(self, values: dict[str, Any], *inputs: Any, **options: Any) -> Any:
        drawn = {name: w.drawn() if isinstance(w, Unsampled) else w for name, w in values.items()}
        dtype = next(iter(drawn.values())).dtype
        paths, structure = tree_flatten_with_path(self.tree)
        leaves = [_leaf(drawn.get(_name(path)), leaf, dtype) for path, leaf in paths]
        return self.function(tree_unflatten(structure, leaves), *inputs, **options)

    def layers(self, weights: Mapping[str, Any]) -> list[Layer]:
        if self.function is not _for_each_row:
            raise ValueError(f"{self.kind} was lifted with apply=, so shrinking cannot read it: put what apply does into the module")
        return layers_of_tree(self.tree, {array.name: weights.get(array.name, array.value) for array in self.arrays})


def lift(
    module: Any,
    priors: Mapping[str, Any],
    *,
    apply: Callable[..., Any] | None = None,
    parametrization: Parametrization = None,
    axes: Mapping[str, Sequence[str]] | None = None,
) -> Lifted:
    paths, _ = tree_flatten_with_path(module)
    if not any(_is_weights(leaf) for _, leaf in paths):
        raise TypeError(f"lift in NumPyro wants a pytree with arrays of floating numbers, not {type(module).__name__}")
    if apply is None and not callable(module):
        raise TypeError(f"lift got a {type(module).__name__}, which is not callable: give apply=, a function of the weights and the inputs")
    _refuse_noise(module)
    arrays = matched(_arrays(module, paths), priors, axes=axes, parametrization=parametrization)
    return LiftedTree(module, arrays, _for_each_row if apply is None else apply, parametrization)


lift.__doc__ = PPL.lift.__doc__


def recalibrate(
    model: Callable[..., Any],
    values: Mapping[str, Any],
    *data: Any,
    batch_size: int | None = None,
    batches: Iterable[tuple] | None = None,
) -> Callable[..., Any]:
    return model  # statistics of a pytree are no weights, and ``lift`` takes them frozen


recalibrate.__doc__ = PPL.recalibrate.__doc__


def _for_each_row(module: Any, *inputs: Any, **options: Any) -> Any:
    """Modules of Equinox take one case at a time."""
    return jax.vmap(lambda *rows: module(*rows, **options))(*inputs)


def _leaf(value: Any, leaf: Any, dtype: Any) -> Any:
    if value is not None:
        return value
    return jnp.asarray(leaf, dtype) if _is_weights(leaf) else leaf


def _is_weights(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _is_numbers(leaf: Any) -> bool:
    kinds = (jnp.number, jnp.bool_)  # keys of random numbers are neither
    return isinstance(leaf, jax.Array | np.ndarray) and any(jnp.issubdtype(leaf.dtype, kind) for kind in kinds)


def _name(path: tuple) -> str:
    return keystr(path, simple=True, separator=".").replace("/", ".")  # xarray refuses "/" in names


def _arrays(module: Any, paths: list) -> list[LiftedArray]:
    leaves = [(path, leaf) for path, leaf in paths if _is_numbers(leaf)]
    uses = Counter(id(leaf) for _, leaf in leaves)
    twice = [name for name, count in Counter(_name(path) for path, _ in leaves).items() if count > 1]
    if twice:
        raise ValueError(f"two arrays of the pytree have the name {twice[0]!r}: rename one")
    found = []
    for path, leaf in leaves:
        axes, shape = _axes(_owner(module, path[:-1]), path[-1], tuple(leaf.shape))
        found.append(LiftedArray(_name(path), np.array(leaf), axes, shape, uses[id(leaf)] > 1, floating=_is_weights(leaf)))
    return found


def _owner(node: Any, path: tuple) -> Any:
    """The object that the path leads to; ``None`` within a node that is no module, dict or sequence."""
    for key in path:
        if isinstance(key, GetAttrKey):
            node = getattr(node, key.name)
        elif hasattr(key, "idx") or hasattr(key, "key"):
            node = node[getattr(key, "idx", getattr(key, "key", None))]
        else:
            return None
    return node


def _axes(owner: Any, key: Any, shape: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the axes of an array, and the shape of its site: gates are an axis, and a convolution's bias has no unit axes."""
    eqx, own, ndim = sys.modules.get("equinox"), getattr(key, "name", ""), len(shape)
    if eqx is not None and isinstance(owner, eqx.Module):
        if isinstance(owner, eqx.nn.LSTMCell | eqx.nn.GRUCell) and own != "bias_n":
            gates = 4 if isinstance(owner, eqx.nn.LSTMCell) else 3
            rest = ("in",) if ndim > 1 else ()
            return ("gate", "out", *rest), (gates, shape[0] // gates, *shape[1:])
        if isinstance(owner, eqx.nn.Conv | eqx.nn.ConvTranspose):
            spatial = SPATIAL[owner.num_spatial_dims]
            return (("out", "in", *spatial), shape) if own == "weight" else (("out",), shape[:1])
        if isinstance(owner, eqx.nn.Embedding):
            return ("in", "out"), shape
        return {0: (), 1: ("out",), 2: ("out", "in")}.get(ndim, generic_axes(ndim)), shape
    known = {0: (), 1: ("out",), 2: ("in", "out"), 4: ("height", "width", "in", "out")}
    return known.get(ndim, generic_axes(ndim)), shape


def _refuse_noise(module: Any) -> None:
    """Raise ValueError for layers of Equinox that tie the rows of a batch together, or draw noise that no site holds."""
    eqx = sys.modules.get("equinox")
    if eqx is None:
        return
    for layer in tree_leaves(module, is_leaf=lambda node: isinstance(node, eqx.nn.BatchNorm | eqx.nn.Dropout)):
        if isinstance(layer, eqx.nn.BatchNorm) and not layer.inference:
            raise ValueError(
                "BatchNorm is in training mode, where each row's output depends on the whole batch: give lift "
                "eqx.nn.inference_mode(module), which freezes it at its running statistics"
            )
        if isinstance(layer, eqx.nn.Dropout) and not layer.inference and layer.p > 0.0:
            raise ValueError(
                "Dropout is in training mode and draws noise no site holds: give lift eqx.nn.inference_mode(module), and the weights a "
                "prior with that noise, e.g. sm.ScaleMixture(noise.Bernoulli(0.5).per('in'))"
            )
