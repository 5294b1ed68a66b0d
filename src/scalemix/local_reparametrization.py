"""Local reparametrization: a normal weight that is not drawn, but the pre-activations it makes are.

With w ~ N(θ, σ²), independent, and h fixed, each row of h w is normal with mean h θ and variance (h∘h) σ². Drawing that instead of w
gives each row its own noise, and a gradient of smaller variance (Kingma, Salimans and Welling, 2015, eq. 6). Means and variances are
those of a drawn weight; the covariance between rows (of a convolution, between positions too) is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scalemix.arrays import arrays, safe_sqrt

__all__ = ["Unsampled"]


class Unsampled:
    """A weight w ~ N(loc, variance), independent entries, not drawn yet.

    ``ppl.linear`` and ``ppl.conv2d`` (and ``ppl.dense`` through them) call ``through``. Whatever else is done with it draws w, once: every
    such use sees the same draw. A weight that goes through two layers (tied weights) gets a noise of its own in each; write
    ``ppl.array(w)`` to have one draw.

    Args:
        loc, variance: θ, σ² of one shape, arrays of a language.
        normal: ``normal(like)`` draws standard normals in the shape of ``like``; another ones at each call.
        scale: σ where it is known, which saves its root where w is drawn after all.
    """

    def __init__(self, loc: Any, variance: Any, normal: Callable[[Any], Any], *, scale: Any = None) -> None:
        self.loc, self.variance, self.normal, self.scale = loc, variance, normal, scale
        self._drawn: Any = None
        self._whole: tuple[Unsampled, Any] | None = None  # what this is a view of

    @property
    def shape(self) -> Any:
        return self.loc.shape

    @property
    def ndim(self) -> int:
        return self.loc.ndim

    @property
    def dtype(self) -> Any:
        return self.loc.dtype

    def through(self, layer: Callable[[Any, Any], Any], h: Any) -> Any:
        """A draw of ``layer(h, w)``, which is linear in w and multiplies each weight at most once into each output."""
        mean, variance = layer(h, self.loc), layer(h * h, self.variance)
        xp, mean, variance = arrays(mean, variance)
        return mean + safe_sqrt(xp, variance) * self.normal(mean)

    def drawn(self) -> Any:
        """w itself: one draw, kept."""
        if self._drawn is None:
            if self._whole is not None:
                whole, index = self._whole
                self._drawn = whole.drawn()[index]
            else:
                xp, loc, variance = arrays(self.loc, self.variance)
                scale = safe_sqrt(xp, variance) if self.scale is None else self.scale
                self._drawn = loc + scale * self.normal(loc)
        return self._drawn

    def __getitem__(self, index: Any) -> Any:
        """A part, or a view with further axes, of the same weight; not drawn either."""
        part = type(self)(self.loc[index], self.variance[index], self.normal)
        part._whole = (self, index)
        return part


def _operator(name: str) -> Any:
    def apply(self: Unsampled, *others: Any) -> Any:
        return getattr(self.drawn(), name)(*(each.drawn() if isinstance(each, Unsampled) else each for each in others))

    return apply


# Python looks for operators in the class alone, not by ``__getattr__``.
BINARY, OTHERS = ("add", "sub", "mul", "truediv", "pow", "matmul"), ("neg", "abs", "len", "lt", "le", "gt", "ge")
for _name in (*BINARY, *(f"r{name}" for name in BINARY), *OTHERS):
    setattr(Unsampled, f"__{_name}__", _operator(f"__{_name}__"))
