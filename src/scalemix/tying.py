"""Per which axes a noise varies, and the shape of its ξ for a weight.

Axes have names: ("in", "out") for a matrix of shape (fan_in, fan_out), ("in",) for a vector. A factor's ξ has one entry for each
index of the axes it is ``per``: ``per("in")`` is ARD and what dropout does, ``per("out")`` a unit or filter, ``per("layer")`` one ξ
for the whole array (ADD), and a bare noise one ξ for each weight (DropConnect).
"""

from __future__ import annotations

from dataclasses import dataclass

from scalemix.checks import Deferred
from scalemix.noise.base import Noise

__all__ = ["Factor", "as_factor", "default_axes", "noise_dims", "noise_view"]

LAYER = "layer"


@dataclass(frozen=True)
class Factor(Deferred):
    """One tied noise of a scale mixture: ``noise.Rayleigh().per("in")``.

    Attributes:
        noise: the law of ξ.
        axes: names of the axes along which ξ varies; ``None`` means each weight has its own, ``("layer",)`` one for all.
        name: the end of the site's name, ``w1_<name>``; by default ``noise``, or ``noise_in`` … where a prior has several factors.
    """

    noise: Noise
    axes: tuple[str, ...] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.noise, Noise):
            raise TypeError(f"a factor of a scale mixture is a noise such as noise.Rayleigh(), not {self.noise!r}")
        if self.axes is not None and (not self.axes or len(set(self.axes)) < len(self.axes)):
            raise ValueError(f"per{self.axes!r} must name each axis once: give e.g. per('in'), or leave per() out for a noise per weight")

    def __repr__(self) -> str:
        if self.axes is None:
            return str(self.noise)
        named = f", name={self.name!r}" if self.name else ""
        return f"{self.noise}.per({', '.join(map(repr, self.axes))}{named})"

    def label(self, alone: bool) -> str:
        """The factor's own name, the end of its site's name."""
        if self.name is not None:
            return self.name
        return "noise" if alone else "noise_" + ("weight" if self.axes is None else "_".join(self.axes))


def as_factor(value: Factor | Noise) -> Factor:
    """A bare noise is a factor with one ξ per weight."""
    return value if isinstance(value, Factor) else Factor(value)


def default_axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    """("in",) for a vector, ("in", "out") for a matrix; anything else has to be named."""
    names = {0: (), 1: ("in",), 2: ("in", "out")}
    if len(shape) not in names:
        raise ValueError(f"a weight of shape {shape} has no default axis names: give axes=, e.g. axes=('height', 'width', 'in', 'out')")
    return names[len(shape)]


def noise_dims(factor: Factor, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Axes of ``axes`` along which the factor's ξ varies, in the weight's order."""
    if factor.axes is None:
        return axes
    if factor.axes == (LAYER,):
        return ()
    unknown = [axis for axis in factor.axes if axis not in axes]
    if unknown:
        have = ", ".join(map(repr, (*axes, LAYER)))
        raise ValueError(f"unknown axis {unknown[0]!r} in {factor}: this weight has the axes {have}")
    return tuple(axis for axis in axes if axis in factor.axes)


def noise_view(dims: tuple[str, ...], axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape in which ξ broadcasts against the weight: the size along ``dims``, 1 elsewhere."""
    return tuple(size if axis in dims else 1 for axis, size in zip(axes, shape, strict=True))
