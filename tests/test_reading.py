"""Torch code that works in place, or says more than it seems to: read as torch runs it, or refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from untrained_fits import made, normals

import scalemix as sm
import scalemix.pyro as in_pyro
from scalemix import models
from scalemix.compress import apply_layers, prune

IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


class Written(nn.Module):
    """Two linear layers, an activation in place, dropout that is idle, and a forward that is given."""

    def __init__(self, step: Callable[[Written, Tensor], Tensor]) -> None:
        super().__init__()
        self.step = step
        self.a, self.b, self.r, self.idle = nn.Linear(4, 5), nn.Linear(5, 2), nn.ReLU(inplace=True), nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.step(self, self.a(x)))


def unused(change: Callable[[Written, Tensor], object]) -> Callable[[Written, Tensor], Tensor]:
    def step(module: Written, h: Tensor) -> Tensor:
        change(module, h)
        return h

    return step


def summed(module: Written, h: Tensor) -> Tensor:
    s = torch.tanh(h)
    s += h
    return s


def outputs_of_its_layers(module: nn.Module, x: Tensor) -> Tensor:
    layers = in_pyro.lift(module.eval(), {"*.weight": sm.Normal()}).layers({})
    return apply_layers(in_pyro, layers, x)


STEPS: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "module in a chain": lambda m, h: m.r(h),
    "function in a chain": lambda m, h: functional.relu(h, inplace=True),
    "behind what is idle": lambda m, h: m.r(m.idle(h)),
    "a sum in place": summed,
}
REFUSED: dict[str, tuple[str, Callable[[Written, Tensor], Tensor]]] = {
    "method": ("nothing reads 'relu_'", unused(lambda m, h: h.relu_())),
    "function": ("nothing reads 'relu'", unused(lambda m, h: functional.relu(h, inplace=True))),
    "module": ("nothing reads 'r'", unused(lambda m, h: m.r(h))),
    "residual by a module": ("'r' changes 'a' in place", lambda m, h: m.r(h) + h),
    "residual by a function": ("'relu' changes 'a' in place", lambda m, h: functional.relu(h, True) + h),
    "residual by a method": ("'relu_' changes 'a' in place", lambda m, h: h.relu_() + h),
    "through an alias": ("'r' changes 'a' in place", lambda m, h: m.r(m.idle(h)) + h),
}


@pytest.mark.parametrize("case", STEPS)
def test_what_works_in_place_without_others_seeing_it_is_read(case: str) -> None:
    module = Written(STEPS[case]).eval()
    with torch.no_grad():
        torch.testing.assert_close(outputs_of_its_layers(module, ROWS), module(ROWS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", REFUSED)
def test_what_others_see_changed_in_place_is_refused(case: str) -> None:
    message, step = REFUSED[case]
    with pytest.raises(ValueError, match=f"shrinking cannot read Written: {message}"):
        outputs_of_its_layers(Written(step), ROWS)


def test_a_pool_that_divides_by_another_number_is_refused() -> None:
    def network(divisor: int | None) -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, divisor_override=divisor), nn.Flatten(), nn.Linear(27, 2))

    with pytest.raises(ValueError, match="cannot read the layer '_1'"):
        outputs_of_its_layers(network(1), IMAGES)
    assert len(in_pyro.lift(network(None), {"*.weight": sm.Normal()}).layers({})) >= 4


ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "squeeze": lambda h: h.squeeze(-1),
    "named": lambda h: h.squeeze(dim=-1),
    "of torch": lambda h: torch.squeeze(h, -1),
    "item": lambda h: h[:, 0],
    "last axis": lambda h: h[..., 0],
}


class Regressor(nn.Module):
    """Ends in one number for each row, by what is given."""

    def __init__(self, end: Callable[[Tensor], Tensor], outputs: int = 1) -> None:
        super().__init__()
        self.end, self.a, self.b = end, nn.Linear(4, 5), nn.Linear(5, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.b(torch.tanh(self.a(x))))


@pytest.mark.parametrize("case", ENDS)
def test_one_output_per_row_without_its_axis_is_read_with_it(case: str) -> None:
    """(n, 1) in place of (n,), with the same numbers, of the shrunk network too."""
    module = Regressor(ENDS[case])
    with torch.no_grad():
        wanted = module(ROWS)
    assert wanted.shape == (6,)
    torch.testing.assert_close(outputs_of_its_layers(module, ROWS), wanted[:, None], rtol=1e-5, atol=1e-6)
    model = partial(models.lifted, net=in_pyro.lift(module, {"*.weight": sm.LogUniform()}))
    posterior = made(in_pyro, model, (ROWS.numpy(), wanted.numpy()), normals)
    pruning = prune(posterior, "magnitude", fraction=0.6)
    shrunk = in_pyro.shrink(posterior, pruning)
    weights = {name: torch.as_tensor(value).float() for name, value in pruning.means.items()}
    with torch.no_grad():
        masked = torch.func.functional_call(module, weights, (ROWS,))
        torch.testing.assert_close(shrunk(ROWS), masked[:, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["squeeze", "item"])
def test_one_of_several_outputs_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match="cannot read Regressor, which takes one of several outputs at its end"):
        outputs_of_its_layers(Regressor(ENDS[case], 2), ROWS)


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    return module


@pytest.mark.parametrize(("module", "name"), [(nn.Sequential(weight_norm(nn.Linear(4, 2))), "0.weight"), (tied(), "2.weight")])
def test_weights_that_are_no_parameters_of_their_own_are_refused(module: nn.Module, name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is no parameter of its own"):
        in_pyro.lift(module, {"*": sm.Normal()}).layers({})
