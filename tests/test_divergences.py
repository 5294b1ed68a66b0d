"""Every divergence over its registry row: the same in NumPy, torch and JAX, with right gradients, finite at the ends of float32."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from divergence_rows import KINDS
from registry import DIVERGENCES
from scipy import special

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import divergences
from scalemix.arrays import arrays, safe_sqrt, xlogx

ROWS = [name for name, row in DIVERGENCES.items() if not row.plain]
CASES = [pytest.param(name, i, id=f"{name}-{i}") for name in ROWS for i in range(5)]


@pytest.fixture
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield


def total(found: Any) -> Any:
    """One number to differentiate."""
    return sum(each.sum() for each in found) if isinstance(found, tuple) else found.sum()


def with_torch(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], dtype: Any) -> tuple[Any, list[np.ndarray]]:
    given = [torch.tensor(np.asarray(arg), dtype=dtype, requires_grad=True) for arg in args]
    found = function(*given, **options)
    if not total(found).requires_grad:
        return found, [np.zeros(np.shape(arg)) for arg in args]
    grads = torch.autograd.grad(total(found), given)
    return (tuple(each.detach() for each in found) if isinstance(found, tuple) else found.detach()), [each.numpy() for each in grads]


def with_jax(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], dtype: Any) -> tuple[Any, list[np.ndarray]]:
    given = [jnp.asarray(arg, dtype=dtype) for arg in args]

    def both(*xs: Any) -> tuple[Any, Any]:
        found = function(*xs, **options)
        return total(found), found

    grads, found = jax.grad(both, argnums=tuple(range(len(given))), has_aux=True)(*given)
    return found, [np.asarray(each) for each in grads]


@pytest.mark.parametrize("run", [with_torch, with_jax])
def test_narrow_normals_have_a_divergence_by_their_log_variance(run: Callable[..., Any]) -> None:
    """In float32 e^100 is infinite; ½ log(1 + θ²/σ²) and its slopes θ/(θ² + σ²) and −½ θ²/(θ² + σ²) are not."""
    mean, log_variance = np.array([0.0, 1e-10, 0.1]), np.array([-100.0, -100.0, -88.8])
    dtype = torch.float32 if run is with_torch else jnp.float32
    found, slopes = run(lambda m, v: divergences.bounded_gaussian_uniform(m, log_variance=v), (mean, log_variance), {}, dtype)
    total = mean**2 + np.exp(log_variance)
    np.testing.assert_allclose(found, 0.5 * np.log(total) - 0.5 * log_variance, rtol=1e-5)
    np.testing.assert_allclose(slopes[0], mean / total, rtol=1e-4)
    np.testing.assert_allclose(slopes[1], -0.5 * mean**2 / total, rtol=1e-4)


def finite_difference(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> list[np.ndarray]:
    """Central differences of the NumPy formula, with one step of Richardson's extrapolation."""
    found = []
    for k, arg in enumerate(args):
        grad = np.zeros(np.shape(arg))
        for index in np.ndindex(*np.shape(arg)):
            step = 1e-3 * max(1e-2, abs(float(np.asarray(arg)[index])))

            def at(h: float, k: int = k, index: Any = index) -> float:
                moved = np.array(args[k], dtype=float)
                moved[index] += h
                return float(total(function(*args[:k], moved, *args[k + 1 :], **options)))

            coarse, fine = ((at(h) - at(-h)) / (2 * h) for h in (step, 0.5 * step))
            grad[index] = (4 * fine - coarse) / 3
        found.append(grad)
    return found


def test_every_divergence_has_a_row_and_a_kind() -> None:
    assert set(DIVERGENCES) == set(divergences.__all__)
    assert {row.kind for row in DIVERGENCES.values()} == set(KINDS)
    assert all(len(row.cases()) == 5 for row in DIVERGENCES.values())


def test_the_page_of_names_says_the_same() -> None:
    """The table in the package's docstring groups the functions as the rows do."""
    headings = {
        "kl": "KL of two proper laws",
        "collapsed": "least over a parameter",
        "constant dropped": "up to a constant",
        "bound": "a bound",
        "no posterior": "of no posterior",
        "quantity": "what goes into them",
    }
    page = inspect.getdoc(divergences) or ""
    for kind, heading in headings.items():
        start = page.index("    " + heading) + len(heading) + 4
        ends = [page.index("    " + other) for other in headings.values() if page.index("    " + other) > start]
        block = page[start : min([*ends, page.index("Example:")])]
        assert {word.strip(",") for word in block.split()} == {name for name, row in DIVERGENCES.items() if row.kind == kind}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "i"), CASES)
def test_values_and_gradients_agree(name: str, i: int) -> None:
    function, (args, options) = getattr(divergences, name), DIVERGENCES[name].cases()[i]
    expected = function(*args, **options)
    slopes = finite_difference(function, args, options)
    one_path = np.ndim(args[0]) == 0  # settings that are numbers alone take the same way through the code
    for run, dtype in ((with_torch, torch.float64), (with_jax, jnp.float64))[: 1 if one_path and i > 1 else 2]:
        value, grads = run(function, args, options, dtype)
        np.testing.assert_allclose(np.asarray(value), np.asarray(expected), rtol=1e-11, atol=1e-13)
        for grad, slope in zip(grads, slopes, strict=True):
            np.testing.assert_allclose(grad, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [name for name, row in DIVERGENCES.items() if row.wide])
def test_scales_at_the_ends_of_float32(name: str) -> None:
    """Values are those of float64 to float32's rounding, gradients are finite."""
    function, row = getattr(divergences, name), DIVERGENCES[name]
    pairs = np.array(list(itertools.product([0.0, 1e-8, -1e-3, 1.0, -30.0], 10.0 ** np.arange(-8.0, 9.0, 2.0))))
    more = tuple(np.full(len(pairs), end) for end in ((0.0, 1.0, 0.3) if len(row.settings[0]) == 3 else (0.0,)))
    for third, (_, options) in itertools.product(more, row.cases()[:2]):
        args = (pairs[:, 0], pairs[:, 1], third)[: len(row.settings[0])]
        args = tuple(np.asarray(arg, dtype=np.float32) for arg in args)
        expected = function(*(arg.astype(float) for arg in args), **options)
        for run, dtype in ((with_torch, torch.float32), (with_jax, jnp.float32)):
            value, grads = run(function, args, options, dtype)
            assert np.asarray(value).dtype == np.float32
            np.testing.assert_allclose(np.asarray(value), expected, rtol=2e-5, atol=1e-5)
            assert all(np.all(np.isfinite(grad)) for grad in grads)


@pytest.mark.parametrize("method", ["exact", "molchanov", "code2017", "kingma", "gaussian_uniform"])
def test_penalties_of_log_alpha_within_12_in_float32(method: str) -> None:
    x = np.concatenate([np.linspace(-12.0, 12.0, 241), [-50.0, 50.0]]).astype(np.float32)

    def function(x: Any) -> Any:
        return divergences.gaussian_uniform(x) if method == "gaussian_uniform" else divergences.log_uniform(x, method)

    expected = function(x.astype(float))
    for run, dtype in ((with_torch, torch.float32), (with_jax, jnp.float32)):
        value, (grad,) = run(function, (x,), {}, dtype)
        np.testing.assert_allclose(np.asarray(value), expected, rtol=1e-5, atol=2e-6)
        assert np.all(np.isfinite(grad)) and np.all(np.abs(grad) < 0.65) and np.all(grad[-2:] == 0.0)
        assert np.all(grad[1:240] < 0.0) or method == "kingma"


def test_the_slope_of_the_exact_penalty_is_dawsons() -> None:
    """dKL/d log α = −√u D(√u), u = 1/(2α), in every language (D4 at more points)."""
    x = np.random.default_rng(3).uniform(-12.0, 12.0, size=200)
    t = np.sqrt(0.5 * np.exp(-x))
    with in_numpyro.engine.precision("float64", "cpu"):
        for run, dtype in ((with_torch, torch.float64), (with_jax, jnp.float64)):
            np.testing.assert_allclose(run(divergences.log_uniform, (x,), {}, dtype)[1][0], -t * special.dawsn(t), atol=4e-8)


def test_gates_at_0_and_1() -> None:
    """The gradient there is that of a clipped logit: large, finite, and back into (0, 1)."""
    p = np.array([0.0, 1.0, 0.5], dtype=np.float32)
    penalties: list[Callable[..., Any]] = [
        lambda p: divergences.bernoulli(p, prior_inclusion=0.3),
        lambda p: divergences.spike_slab(0.1, 0.2, p, prior_inclusion=0.3, slab_scale=1.0, spike_scale=0.1),
        lambda p: divergences.concrete_dropout(1.0, p, length_scale=1.0, num_inputs=3),
    ]
    for function, (run, dtype) in itertools.product(penalties, ((with_torch, torch.float32), (with_jax, jnp.float32))):
        value, (grad,) = run(function, (p,), {}, dtype)
        assert np.all(np.isfinite(np.asarray(value))) and np.all(np.isfinite(grad))
        assert grad[0] < -50.0 and grad[1] > 50.0


def test_roots_and_entropies_are_safe_at_0() -> None:
    for run, dtype in ((with_torch, torch.float32), (with_jax, jnp.float32)):
        value, (grad,) = run(lambda x: safe_sqrt(*arrays(x)), (np.array([0.0, 4.0, 1e-30]),), {}, dtype)
        np.testing.assert_allclose(np.asarray(value), [0.0, 2.0, 1e-15], rtol=1e-6)
        np.testing.assert_allclose(grad, [0.0, 0.25, 0.5e15], rtol=1e-6)
        value, (grad,) = run(lambda x: xlogx(*arrays(x)), (np.array([0.0, 1.0]),), {}, dtype)
        assert np.all(np.asarray(value) == 0.0) and grad[1] == 1.0 and -90.0 < grad[0] < -80.0


def test_second_derivatives_of_the_exact_penalty() -> None:
    """What a Laplace approximation or a Hessian asks of the table, under ``jit``, ``vmap`` and two derivatives."""
    x = np.linspace(-11.0, 11.0, 45)
    with in_numpyro.engine.precision("float64", "cpu"):
        bends = jax.jit(jax.vmap(jax.hessian(divergences.log_uniform)))(jnp.asarray(x))
    t = np.sqrt(0.5 * np.exp(-x))
    np.testing.assert_allclose(bends, 0.5 * t * (special.dawsn(t) * (1 - 2 * t**2) + t), atol=3e-5)


@pytest.mark.slow
def test_mapped_by_torch() -> None:
    """``torch.func.vmap`` of ``grad``: arrays of another type than those a person makes, which refuse to be looked into."""
    x = torch.linspace(-3.0, 3.0, 7)
    slopes = torch.func.vmap(torch.func.grad(divergences.log_uniform))(x)
    np.testing.assert_allclose(slopes, with_torch(divergences.log_uniform, (x.numpy(),), {}, torch.float32)[1][0], rtol=1e-6)


def test_types_of_the_arrays() -> None:
    options = {"prior_scale": 2.0}
    assert type(divergences.normal(0.3, 0.7)) is np.float64
    assert divergences.normal(np.ones(2, dtype=np.float32), 0.7, **options).dtype == np.float32
    assert divergences.normal([1, 2], 0.7).dtype == np.float64
    assert divergences.normal(torch.ones(2), np.ones(2), **options).dtype == torch.float32
    assert divergences.normal(torch.nn.Parameter(torch.ones(2)), [1.0, 2.0]).requires_grad
    assert isinstance(divergences.normal(jnp.ones(2), 1.0, **options), jax.Array)
    assert divergences.normal(torch.ones(3, 1), torch.ones(2)).shape == (3, 2)
    with pytest.raises(TypeError, match="of one language"):
        divergences.normal(torch.ones(2), jnp.ones(2))


def test_an_array_of_a_language_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalemix.arrays._registered", {})
    with pytest.raises(TypeError, match=r"import scalemix\.pyro first"):
        divergences.normal(torch.ones(2), 1.0)
    with pytest.raises(TypeError, match=r"import scalemix\.numpyro first"):
        divergences.normal(jnp.ones(2), 1.0)


HYPER = {"prior_inclusion": 0.5, "slab_scale": 1.0, "spike_scale": 0.1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: divergences.log_uniform(0.0, "approximate"), "'exact', 'molchanov', 'code2017', 'kingma'"),
        (lambda: divergences.normal(0.0, 1.0, prior_scale=0.0), "prior_scale"),
        (lambda: divergences.bernoulli(0.5, prior_inclusion=1.0), "rules nothing out"),
        (lambda: divergences.spike_slab(0.0, 1.0, 0.5, **HYPER | {"spike_scale": 1.0}), "exchange them"),
        (lambda: divergences.inclusion(0.0, 1.0, **HYPER | {"slab_scale": -1.0}), "slab_scale"),
        (lambda: divergences.bounded_gaussian_uniform(0.0, 1.0, low=2.0, high=1.0), "give low < high"),
        (lambda: divergences.vibnet(0.0, 1.0, kl_scale=0.0), "kl_scale"),
        (lambda: divergences.vibnet_kl_scale(0.1, num_layers=0), "num_layers"),
        (lambda: divergences.minibatch_weights(3, method="halving"), "'uniform' or 'geometric'"),
        (lambda: divergences.hard_concrete(0.0, low=0.1), "give low < 0 and high > 1"),
        (lambda: divergences.truncated_log_uniform(0.0, 1.0, low=0.0), "empty interval"),
        (lambda: divergences.dynamic_regularizer(np.ones(3), np.ones((2, 3)), strength=1.0), "needs fraction="),
        (lambda: divergences.selection(np.ones(3), np.ones((2, 3)), select="absolute"), "needs threshold="),
        (lambda: divergences.selection(np.ones(3), np.ones((2, 3)), score="size"), "'abs', 'neg_abs'"),
        (lambda: divergences.dynamic_regularizer(np.ones(3), np.ones((2, 3)), strength=1.0, form="root"), "'squared' or 'norm'"),
        (lambda: divergences.projected_cross_entropy(np.ones((1, 3)), [0], np.ones(2), method="both"), "'union' or 'literal'"),
    ],
)
def test_bad_input_says_what_to_give(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
