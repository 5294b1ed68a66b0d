"""The corrected figure 1: its curves are the closed forms of scale families."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import special

import scalemix as sm
from scalemix import noise

pytest.importorskip("matplotlib")


def test_curves_are_the_closed_forms() -> None:
    m = 2.5
    paths = {
        "gate": noise.Bernoulli,
        "Rayleigh": lambda second: noise.Rayleigh((second / 2) ** 0.5),
        "inverse Nakagami": lambda second: noise.InverseNakagami(2 * m, (second * (m - 1) / m) ** 0.5),
    }
    second = np.linspace(0.2, 3.0, 15)
    figure = sm.plot_noise_variances(paths, second=second)
    direct, inverse = ([np.asarray(line.get_ydata()) for line in ax.lines] for ax in figure.axes)
    inside = second < 1
    np.testing.assert_allclose(direct[0][inside], (second * (1 - second))[inside], rtol=1e-12)
    assert np.all(np.isnan(direct[0][second > 1.001]))
    np.testing.assert_allclose(direct[1], (1 - np.pi / 4) * second, rtol=1e-12)
    assert np.all(np.isnan(inverse[1]))
    root = (special.gamma(m - 0.5) / special.gamma(m)) ** 2
    np.testing.assert_allclose(direct[2], second * (1 - (m - 1) * root), rtol=1e-10)
    np.testing.assert_allclose(inverse[2], m / (m - 1) ** 2 / second**2, rtol=1e-10)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[1] == "Rayleigh (Var[ξ⁻²] infinite)" and labels[2] == "inverse Nakagami"


def test_a_wrong_path_is_refused() -> None:
    with pytest.raises(ValueError, match="'Rayleigh' gives at"):
        sm.plot_noise_variances({"Rayleigh": noise.Rayleigh})
    with pytest.raises(ValueError, match="no noise at any"):
        sm.plot_noise_variances({"gate": lambda second: noise.Bernoulli(second)}, second=[2.0, 3.0])


def test_a_notebook_shows_the_figure_without_pyplot() -> None:
    """IPython asks an object for ``_repr_png_``; matplotlib's own figures have it only once pyplot is imported."""
    code = "import sys, scalemix as sm; png = sm.plot_prior({'ridge': sm.Normal()}, num_data=10)._repr_png_()\n"
    code += "assert png.startswith(b'\\x89PNG') and 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
