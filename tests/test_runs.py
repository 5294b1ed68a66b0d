"""A run in a folder: the bits of a run in memory, whether it is stopped or not; and what a folder refuses."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import SEGMENT, Y, brief, model, same_bits

import scalemix as sm
import scalemix.numpyro
import scalemix.pyro
from scalemix.inference import hmc, nuts
from scalemix.run_folder import RunFolder

LANGUAGES = {"numpyro": scalemix.numpyro, "pyro": scalemix.pyro}


class Stopped(BaseException):
    """Stands for what ends a process."""


def fit(ppl: Any, **options: Any) -> sm.Posterior:
    return nuts.fit(ppl, model, Y, **{"seed": 3, "settings": brief(), "segment_draws": SEGMENT} | options)


@contextmanager
def stopped_after(segments: int) -> Iterator[None]:
    """The process ends when this many segments (the warm-up is one) are on the disk."""
    add, seen = RunFolder.add, 0

    def counting(self: RunFolder, *arguments: Any) -> None:
        nonlocal seen
        add(self, *arguments)
        seen += 1
        if seen == segments:
            raise Stopped

    RunFolder.add = counting  # type: ignore[method-assign]
    try:
        with pytest.raises(Stopped):
            yield
    finally:
        RunFolder.add = add  # type: ignore[method-assign]


@pytest.fixture(scope="module", params=LANGUAGES)
def whole(request: pytest.FixtureRequest) -> tuple[Any, sm.Posterior]:
    ppl = LANGUAGES[request.param]
    return ppl, fit(ppl)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NumPyro run that was stopped after its first segment of draws."""
    folder = tmp_path_factory.mktemp("runs") / "half"
    with stopped_after(2):
        fit(scalemix.numpyro, folder=folder)
    return folder


@pytest.fixture
def copy(half: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(half, tmp_path / "run"))


# --- the same bits -------------------------------------------------------------------------------------------------------------


def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(whole: tuple[Any, sm.Posterior], tmp_path: Path) -> None:
    ppl, expected = whole
    folder = tmp_path / "run"
    for segments in (1, 2, 1):  # after the warm-up, in the midst, and (in Pyro) between two chains
        with stopped_after(segments):
            fit(ppl, folder=folder, resume=True)
    part = sm.Posterior.load(folder)
    chains, draws = part.log_joint.shape
    assert (chains, draws) == ((2, 20) if ppl.name == "numpyro" else (1, 20))
    np.testing.assert_array_equal(part.draws["mean"], expected.draws["mean"][:chains, :draws])
    assert part.info.notes[-1].startswith("unfinished: 20 of 20 draws")
    result = fit(ppl, folder=folder, resume=True)
    same_bits(expected, result)
    assert sorted(os.listdir(folder)) == ["data.npz", "manifest.json", "posterior.nc"]
    same_bits(expected, sm.Posterior.load(folder))
    same_bits(expected, sm.Posterior.load(folder / "posterior.nc"))
    again = fit(ppl, folder=folder, resume=True)
    same_bits(expected, again)
    np.testing.assert_array_equal(again.pointwise_log_likelihood(Y)["y"], expected.log_likelihood["y"])
    assert not result.draws["mean"].flags.writeable
    assert result.info.seconds_run > 0
    assert result.info.notes == expected.info.notes


def test_draws_are_those_of_the_languages_own_driver(whole: tuple[Any, sm.Posterior]) -> None:
    """The plain MCMC of each language, from the same random numbers. NumPyro's compiler orders a sum otherwise: no last digits there."""
    ppl, found = whole
    with ppl.engine.precision("float64", "cpu"):
        if ppl.name == "pyro":
            import pyro
            import torch

            with ppl.engine.seeded(3 * 1009 + 1):
                kernel = pyro.infer.NUTS(partial(model, ppl), target_accept_prob=0.9, max_tree_depth=3)
                mcmc = pyro.infer.MCMC(kernel, 20, warmup_steps=20, disable_progbar=True)
                mcmc.run(torch.as_tensor(Y))
                draws = {name: value.numpy() for name, value in mcmc.get_samples().items()}
        else:
            import jax
            import numpyro

            kernel = numpyro.infer.NUTS(partial(model, ppl), target_accept_prob=0.9, max_tree_depth=3)
            mcmc = numpyro.infer.MCMC(kernel, num_warmup=20, num_samples=20, progress_bar=False)
            mcmc.run(jax.random.split(jax.random.PRNGKey(3), 2)[1], Y)
            draws = mcmc.get_samples()
    for name in ("mean", "scale"):
        np.testing.assert_allclose(found.draws[name][1], draws[name], rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vectorized", "parallel"])
def test_other_chain_methods_resume_too(method: str, tmp_path: Path) -> None:
    settings = hmc.Settings(num_warmup=10, num_draws=12, num_chains=2, num_steps=2, chain_method=method, progress=False)
    options: dict[str, Any] = {"seed": 3, "settings": settings, "segment_draws": SEGMENT}
    expected = hmc.fit(scalemix.numpyro, model, Y, **options)
    with stopped_after(2):
        hmc.fit(scalemix.numpyro, model, Y, folder=tmp_path / "run", **options)
    same_bits(expected, hmc.fit(scalemix.numpyro, model, Y, folder=tmp_path / "run", resume=True, **options))
    assert expected.info.chain_method == method
    np.testing.assert_array_equal(expected.sample_stats["n_steps"], 2)


# --- refusals ------------------------------------------------------------------------------------------------------------------


def refused(*words: str, kind: type[Exception] = ValueError) -> Any:
    return pytest.raises(kind, match="^[^\n]*" + "[^\n]*".join(words) + "[^\n]*$")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 4}, ("has seed=3", "this one has seed=4", "another folder")),
        ({"settings": brief(max_tree_depth=4)}, ("max_tree_depth=3", "max_tree_depth=4")),
        ({"segment_draws": 9}, ("segment_draws=8", "segment_draws=9")),
        ({"drop": ["ratio"]}, ("kept sites=", "ratio", "this one has kept sites=")),
        ({"init_from": {"mean": 0.5}}, ("init_from='uniform'", "this one has init_from=")),
        ({"num_data": 60}, ("num_data=None", "num_data=60")),
        ({"resume": False}, ("holds a run", "stopped at draw 8 of 20", "resume=True")),
    ],
    ids=["seed", "settings", "segment", "kept", "start", "num_data", "no_resume"],
)
def test_another_run_is_refused(copy: Path, changes: dict[str, Any], words: tuple[str, ...]) -> None:
    with refused(*words):
        fit(scalemix.numpyro, **{"folder": copy, "resume": True} | changes)


def test_other_data_or_model_are_refused(copy: Path) -> None:
    options: dict[str, Any] = {"seed": 3, "settings": brief(), "segment_draws": SEGMENT, "folder": copy, "resume": True}
    with refused("data=", "this one has data="):
        nuts.fit(scalemix.numpyro, model, Y + 1e-9, **options)
    with refused("model='model'", "this one has model='model\\(\\)'"):
        nuts.fit(scalemix.numpyro, partial(model), Y, **options)
    with refused("this one has model='_reparametrized\\(0.3, model\\)'"):  # other coordinates under the same names
        nuts.fit(scalemix.numpyro, sm.reparam(model, 0.3), Y, **options)
    with refused("language='numpyro'", "language='pyro'"):
        nuts.fit(scalemix.pyro, model, Y, **options)


def flip_a_bit(folder: Path) -> None:
    file = folder / "segment-00001.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def pickled(folder: Path) -> None:
    """A stranger's file, and a manifest that vouches for it: loading it must run nothing."""
    file = folder / "segment-00001.npz"
    np.savez(file, **{"posterior/mean": np.array([print], dtype=object)})
    manifest = json.loads((folder / "manifest.json").read_text())
    from scalemix.files import checksum

    manifest["segments"][1]["sha256"] = checksum(file)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_bit, ("segment-00001.npz is damaged", "checksum", "another folder")),
        (lambda folder: (folder / "segment-00001.npz").unlink(), ("segment-00001.npz is missing",)),
        (pickled, ("segment-00001.npz is damaged", "allow_pickle=False")),
        (lambda folder: (folder / "manifest.json").write_text("{"), ("manifest.json is damaged",)),
        (lambda folder: (folder / "data.npz").write_bytes(b"PK"), ("data.npz is damaged",)),
    ],
    ids=["bit", "missing", "pickle", "manifest", "data"],
)
def test_damage_is_refused_by_name(copy: Path, damage: Callable[[Path], Any], words: tuple[str, ...]) -> None:
    damage(copy)
    with refused(*words):
        sm.Posterior.load(copy)
    if damage is flip_a_bit:
        with refused(*words):
            fit(scalemix.numpyro, folder=copy, resume=True)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with refused("not a run", "thesis.tex", "new folder"):
        fit(scalemix.numpyro, folder=tmp_path)
    with refused("no run in"):
        sm.Posterior.load(tmp_path)
    with refused("resume=True needs folder="):
        fit(scalemix.numpyro, resume=True)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_full_disk_costs_no_draw(copy: Path, whole: tuple[Any, sm.Posterior]) -> None:
    """A limit on the size of files stands for the full disk: the system's error is another, its way the same."""
    if whole[0].name != "numpyro":
        pytest.skip("one language is enough: the folder does not know which it is")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with refused("cannot be written", "segment-00002.npz", "draws so far are kept", "resume=True", kind=OSError):
            fit(scalemix.numpyro, folder=copy, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(sm.Posterior.load(copy).draws["mean"], whole[1].draws["mean"][:, :SEGMENT])
    assert not [name for name in os.listdir(copy) if name.endswith(".tmp")]
    same_bits(whole[1], fit(scalemix.numpyro, folder=copy, resume=True))


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions are the system's own here")
def test_a_read_only_folder_is_refused_before_sampling(copy: Path) -> None:
    before = sm.Posterior.load(copy).draws["mean"]
    user = os.geteuid()
    copy.chmod(0o555)
    for parent in copy.parents:
        if parent.owner() == copy.owner() and parent.stat().st_mode & 0o777 == 0o700:  # pytest's own folders, closed to others
            parent.chmod(0o755)
    if user == 0:
        os.seteuid(65534)  # whom the permissions hold back, unlike root
    try:
        with refused("cannot be written", "draws so far are kept", kind=OSError):
            fit(scalemix.numpyro, folder=copy, resume=True)
    finally:
        os.seteuid(user)
        copy.chmod(0o755)
    np.testing.assert_array_equal(sm.Posterior.load(copy).draws["mean"], before)
