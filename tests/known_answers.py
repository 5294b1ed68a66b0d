"""Known answers: numbers computed twice outside this code (closed form and quadrature, or two codings), to ten digits.

Each has the settings it holds for. s0 is the base scale; w a weight; xi a noise.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KNOWN", "KnownAnswer"]


class KnownAnswer(NamedTuple):
    """``what`` says the quantity in words; ``value`` is it."""

    what: str
    value: float


KNOWN = {
    "A1": KnownAnswer("Rayleigh b=.8, s0=1.5: p(w=.7)", 0.2325146441),
    "A1b": KnownAnswer("Rayleigh b=.8: P(xi^2 > 1.3)", 0.3621759991),
    "A2": KnownAnswer("inverse Nakagami m=1.5, Omega=2, s0=.7: p(w=.3)", 0.5893906398),
    "A2b": KnownAnswer("inverse Nakagami m=1.5, Omega=2: P(xi^2 > 1)", 0.3177296697),
    "A3": KnownAnswer("half-Cauchy s=1.2, s0=.8: p(w=.5)", 0.2350802399),
    "A3b": KnownAnswer("half-Cauchy s=1.2: density of xi^2 at .9", 0.1720656824),
    "A3c": KnownAnswer("half-Cauchy s=1.2: P(xi^2 < .9)", 0.4258757567),
    "A4": KnownAnswer("Gaussian loc=0, s=.6, s0=1.1: p(w=.4)", 0.3712071625),
    "A5": KnownAnswer("Gaussian loc=1, variance .25, s0=1: p(w=.5)", 0.3242948231),
    "A5c": KnownAnswer("Gaussian loc=1, variance .25, s0=1: E[cos(1.7 w)]", 0.3293002554),
    "A6": KnownAnswer("uniform(0, 1), s0=1.3: p(w=.6)", 0.2709815347),
    "A7": KnownAnswer("chi with 5 degrees of freedom, s0=1: p(w=.8)", 0.1846911163),
    "A8": KnownAnswer("xi^2 ~ uniform(0, 2), s0=1: p(w=.5)", 0.3490886622),
    "A8b": KnownAnswer("xi^2 ~ uniform(0, 2), s0=1: p(w=0)", 0.5641895835),
    "A9": KnownAnswer("xi^2 ~ log-uniform(1e-4, 1e2), s0=1: p(w=.05)", 1.441872186),
    "B1": KnownAnswer("Rayleigh b=.8: Var[xi]", 0.2746903509),
    "B2": KnownAnswer("inverse Nakagami m=3.5, Omega=2: E[xi]", 0.7961095095),
    "B3": KnownAnswer("inverse Nakagami m=3.5, Omega=2: E[xi^2]", 0.7),
    "B4": KnownAnswer("inverse Nakagami m=3.5, Omega=2: Var[xi^-2]", 1.142857143),
    "B5": KnownAnswer("chi with 7 degrees of freedom: Var[xi^-2]", 0.02666666667),
    "C1": KnownAnswer("expanded gap, y=(1.2,-.4,.7) ~ N(x w xi, 1), x=(1,.5,-.3), w=.9, xi ~ N(1, .16)", 0.01632147851),
    "C2": KnownAnswer("expanded gap, y=(.8,-.3) ~ N(A xi, I), A=[[.6,-.2,.4],[.1,.9,-.5]], xi ~ N(1, .04 I)", 0.01373244464),
    "C3": KnownAnswer("hierarchical gap, inverse Nakagami m=2.5, Omega=1.7, s0=.9, w=.6", 0.01248078906),
    "C4": KnownAnswer("the same for w=(.6,-.2,.9) sharing one xi", 0.07921963172),
    "C5": KnownAnswer("E[1/2 |y - X (xi w)|^2], gates kept with .7 and inverted, X of 4 rows, w=(.5,-.3,.8)", 2.630571429),
    "C6": KnownAnswer("log E[exp(-1/2 |y - X (xi w)|^2)], the same, one mask", -2.49333029),
    "C6b": KnownAnswer("the same, a mask for each row", -2.025872114),
    "I6": KnownAnswer("y=2, y ~ N(0, 2) with probability .5, else N(0, 1): P(N(0, 2) | y)", 0.6577821803),
    "I14": KnownAnswer("the same for y=(1, -.5, 2), one gate for the three: P(N(0, 2) | y)", 0.567775074),
    "I1": KnownAnswer("y=1.5 ~ N(w, 1), w ~ Laplace(0, 1): E[w | y]", 0.8056272003),
    "I1b": KnownAnswer("the same: log evidence", -1.896259058),
    "I2": KnownAnswer("y=2 ~ N(w, 1), w = xi z, xi half-Cauchy(1): E[w | y]", 1.062529115),
    "I2b": KnownAnswer("the same: E[1/(1 + xi^2) | y]", 0.4687354423),
    "I2c": KnownAnswer("the same: E[w^2 | y]", 2.062529115),
    "I3": KnownAnswer("y=2 ~ N(w, 1), w ~ t_3: E[w | y]", 1.171642088),
    "I4": KnownAnswer("y=2 ~ N(w, 1), xi ~ N(0, 1): E[w | y]", 0.8333946344),
    "I5": KnownAnswer("y=2 ~ N(w, 1), xi ~ N(1, .25): E[w | y]", 1.018465316),
    "I7": KnownAnswer("y=2 ~ N(w, 1), p(w) ~ 1/|w| on 1e-4 <= |w| <= 1e2: E[w | y]", 0.6419388485),
    "I8": KnownAnswer("y=2 ~ N(w, 1), p(w) = 1/|w| on a <= |w|: growth of the evidence with log(1/a) as a -> 0", 0.107981933),
    "I9": KnownAnswer("y=2 ~ N(w, 1), smooth log-uniform, gamma in [1e-4, 1e2]: E[w | y]", 0.8137747761),
    "I10": KnownAnswer("y=2 ~ N(w, 1), gamma ~ U(0, 10) sampled: E[w | y]", 1.543046967),
    "I10b": KnownAnswer("the same, gamma ~ U(0, 100)", 1.870654752),
    "I15": KnownAnswer("point spike on 8 columns: log evidence", -20.76709565),
    "I16.1": KnownAnswer("the same: inclusion probability of column 1", 0.9980557517),
    "I16.2": KnownAnswer("column 2", 0.07567780771),
    "I16.3": KnownAnswer("column 3", 0.9999626786),
    "I16.4": KnownAnswer("column 4", 0.09298998141),
    "I16.5": KnownAnswer("column 5", 0.0967656781),
    "I16.6": KnownAnswer("column 6", 0.4810731537),
    "I16.7": KnownAnswer("column 7", 0.07842658933),
    "I16.8": KnownAnswer("column 8", 0.5223991169),
    "I17": KnownAnswer("the same with a continuous spike, sd 1 and .05: log evidence", -20.8507524),
}
