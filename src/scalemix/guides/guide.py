"""A guide: a component for each latent site of a model, with the first values of its parameters. Written once for both languages."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.cases import first_array
from scalemix.files import replacing, writing
from scalemix.guides.component import Component, Target, targets
from scalemix.variational_scope import variational

if TYPE_CHECKING:
    from scalemix.language import PPL
    from scalemix.runs import Structure

__all__ = ["PARAM_SEPARATOR", "Guide"]

PARAM_SEPARATOR = "_"
FORMAT = 1


@dataclass(frozen=True)
class Guide:
    """q(θ) = Π q(site): callable as ``guide(ppl, *data)``, which samples each latent site of the model it was built for.

    Args:
        parts: the component of each site.
        targets: what each site is.
        initial: first values of the parameters, ``{site}_{suffix}`` to array.
        local_reparametrization: leave weights to ``ppl.linear`` and ``ppl.conv2d``, which draw pre-activations in their stead: True, False,
            or "auto", where there are fewer rows than inputs (a layer then draws fewer numbers than it has weights).

    Raises: ValueError for an unknown option.
    """

    parts: Mapping[str, Component]
    targets: Mapping[str, Target]
    initial: Mapping[str, np.ndarray] = field(repr=False)
    local_reparametrization: bool | str = "auto"

    def __post_init__(self) -> None:
        if self.local_reparametrization not in (True, False, "auto"):
            raise ValueError(f"local_reparametrization={self.local_reparametrization!r}: give True, False or 'auto'")

    @classmethod
    def build(
        cls,
        structure: Structure,
        choose: Callable[[Target], Component | None],
        *,
        seed: int,
        local_reparametrization: bool | str = "auto",
    ) -> Guide:
        """A guide for a model of this ``structure`` (``ppl.engine.structure``).

        Args:
            structure: the model's sites.
            choose: the component of a site, given what it is; ``None`` for one that has none, which is an error.
            seed: of the first values.
            local_reparametrization: as for the guide.

        Raises: ValueError for a latent site without a component, or with one that cannot be its law.
        """
        found = targets(structure)
        parts = {site: choose(target) for site, target in found.items()}
        for site, part in parts.items():
            if part is None:
                raise ValueError(
                    f"the guide has no component for the site {site!r} (role {found[site].role!r}, shape {found[site].shape}), which would "
                    "silently be drawn from its prior: give it one"
                )
        chosen = {site: part for site, part in parts.items() if part is not None}
        for site, part in chosen.items():
            if (refusal := part.refusal(found[site])) is not None:
                raise ValueError(f"{type(part).__name__} cannot be the guide of the site {site!r}: {refusal}")
        rng = np.random.default_rng(seed)
        initial = {
            f"{site}{PARAM_SEPARATOR}{suffix}": value
            for site, part in chosen.items()
            for suffix, value in part.initial(found[site], rng).items()
        }
        return cls(chosen, found, initial, local_reparametrization)

    def __call__(self, ppl: PPL, *data: Any, **_: Any) -> dict[str, Any]:
        """Sample every site in ``ppl``; the value of each. ``data`` are those of the model."""
        first = first_array(data)
        rows = None if first is None else first.shape[0]
        values = {}
        for site, part in self.parts.items():
            more = {"values": values} if part.reads_sites else {}
            values[site] = part.sample(ppl, self.targets[site], partial(self._param, ppl, site), data, self.lazy(site, rows), **more)
        return values

    def lazy(self, site: str, rows: int | None) -> bool:
        """Whether the weight ``site`` is left to its layer, for data of that many ``rows``."""
        target = self.targets[site]
        if target.role != "weight" or self.local_reparametrization is False:
            return False
        return self.local_reparametrization is True or (rows is not None and rows < target.fan_in)

    def native(self, ppl: PPL) -> Callable[..., Any]:
        """The guide in ``ppl`` as a plain function of the data, for the language's own ``SVI`` with its ``TraceMeanField_ELBO``."""
        return partial(self, ppl)

    def model(self, ppl: PPL, model: Callable[..., Any], *, method: str = "exact") -> Callable[..., Any]:
        """``model(ppl, *data)`` in ``ppl`` as a plain function of the data, read as by ``sm.variational(model, method=method)``."""
        return partial(variational(model, method=method), ppl)

    def _param(self, ppl: PPL, site: str, suffix: str) -> Any:
        name = f"{site}{PARAM_SEPARATOR}{suffix}"
        return ppl.param(name, lambda *_: ppl.engine.arrays(self.initial[name]))

    @property
    def noise_params(self) -> tuple[str, ...]:
        """Names of the parameters that say how wide the guide is; a training may give them a step size of their own."""
        return tuple(f"{site}{PARAM_SEPARATOR}{suffix}" for site, part in self.parts.items() for suffix in part.noise_suffixes)

    @property
    def project(self) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """What a training does to the parameters after each step: ``None``, where no component has anything to do."""
        if all(type(part).after_step is Component.after_step for part in self.parts.values()):
            return None

        def project(params: dict[str, Any]) -> dict[str, Any]:
            moved = dict(params)
            for site, part in self.parts.items():
                after = part.after_step(self.targets[site], self.params_of(site, params))
                moved |= {f"{site}{PARAM_SEPARATOR}{suffix}": value for suffix, value in after.items()}
            return moved

        return project

    @property
    def anew(self) -> tuple[str, ...]:
        """Sites with a row per case and one law for all rows: at other rows they are drawn anew."""
        return tuple(site for site, part in self.parts.items() if part.one_law and self.targets[site].per_case)

    @property
    def prior_sites(self) -> tuple[str, ...]:
        """Sites that are drawn from their priors."""
        return tuple(site for site, part in self.parts.items() if part.divergence == "prior")

    @property
    def points(self) -> tuple[str, ...]:
        """Sites that are points: the guide has no density there."""
        return tuple(site for site, part in self.parts.items() if part.divergence == "point")

    def params_of(self, site: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of ``site`` among ``params``, suffix to array."""
        return {suffix: params[f"{site}{PARAM_SEPARATOR}{suffix}"] for suffix in self._suffixes[site]}

    @cached_property
    def _suffixes(self) -> dict[str, tuple[str, ...]]:
        rng = np.random.default_rng(0)
        return {site: tuple(part.initial(self.targets[site], rng)) for site, part in self.parts.items()}

    def means(self, params: Mapping[str, Any], sites: Collection[str]) -> dict[str, np.ndarray]:
        """Means of ``sites`` under ``params``; of one row where a site has a row per case."""
        return {site: self.parts[site].mean(self.targets[site], own) for site, own in self._by_site(params) if site in sites}

    def median(self, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The median of each site under ``params``."""
        return {site: values[0] for site, values in self.quantiles(params, [0.5]).items()}

    def quantiles(self, params: Mapping[str, Any], probs: Any) -> dict[str, np.ndarray]:
        """(len(probs), *shape) quantiles of each entry of each site under ``params``.

        Raises: ValueError unless 0 ≤ probs ≤ 1.
        """
        at = np.asarray(probs, dtype=float).reshape(-1)
        if not np.all((at >= 0.0) & (at <= 1.0)):
            raise ValueError(f"quantiles(probs={probs!r}): give numbers from 0 to 1")
        return {site: self.parts[site].quantiles(self.targets[site], own, at) for site, own in self._by_site(params)}

    def sample_posterior(
        self, ppl: PPL, params: Mapping[str, Any], data: tuple, *, num_draws: int, seed: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """``num_draws`` draws from ``seed`` in ``ppl`` of every site under ``params``, (num_draws, *shape), for the cases in ``data``, and
        log q of each."""
        whole = dataclasses.replace(self, local_reparametrization=False)
        return ppl.engine.draw_guide(whole, dict(params), data, num_draws=num_draws, seed=seed)

    def save(self, path: str | Path, params: Mapping[str, Any]) -> Path:
        """Write ``params`` and what the guide is to the .npz file ``path``: arrays, and JSON for the rest. It is whole or not there."""
        path = Path(path)
        arrays = {name: np.asarray(params[name]) for name in self.initial}
        with writing("the guide", path), replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, __spec__=np.array(self.to_json()), **arrays)
        return path

    def to_json(self) -> str:
        """All of the guide but numbers of its parameters."""
        spec = {
            "format": FORMAT,
            "local_reparametrization": self.local_reparametrization,
            "parts": [_part_spec(part, self.targets[site]) for site, part in self.parts.items()],
        }
        return json.dumps(spec)

    @classmethod
    def load(cls, path: str | Path, structure: Structure | None = None) -> Guide:
        """The guide that ``save`` wrote; the parameters saved with it are its ``initial`` values.

        Args:
            path: the file.
            structure: of the model, needed where sites are drawn from their priors.

        Raises: ValueError with one sentence if the file is none, or of another format.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                text = str(stored["__spec__"])
                json.loads(text)
                initial = {name: stored[name] for name in stored.files if name != "__spec__"}
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is no guide that Guide.save wrote ({error}): give the path of one") from error
        return cls.from_json(text, initial, structure, said=path)

    @classmethod
    def from_json(cls, text: str, initial: Mapping[str, np.ndarray], structure: Structure | None = None, *, said: str | Path) -> Guide:
        """The guide of which ``to_json`` gave ``text``, with ``initial`` parameters; ``said`` is where they are from.

        Raises: ValueError if the text is of another format, or sites are drawn from their priors and there is no structure.
        """
        from scalemix import guides

        spec = json.loads(text)
        if spec.get("format") != FORMAT:
            raise ValueError(
                f"{said} has a guide of the format {spec.get('format')}, and this version reads {FORMAT}: load it with the version that "
                "wrote it"
            )
        known = targets(structure) if structure is not None else {}
        parts, found = {}, {}
        for each in spec["parts"]:
            target = Target(**{name: tuple(v) if isinstance(v, list) else v for name, v in each["target"].items()})
            found[target.site] = known.get(target.site, target)
            parts[target.site] = getattr(guides, each["component"])(**each["options"])
        missing = [site for site, part in parts.items() if part.divergence == "prior" and found[site].noise is None]
        if missing:
            raise ValueError(f"the guide draws {missing[0]!r} from its prior: give Guide.load(path, structure=) that of the model")
        return cls(parts, found, initial, spec["local_reparametrization"])

    def _by_site(self, params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for site in self.parts:
            yield site, {suffix: np.asarray(value) for suffix, value in self.params_of(site, params).items()}


def _part_spec(part: Component, target: Target) -> dict[str, Any]:
    fields = {f.name: getattr(target, f.name) for f in dataclasses.fields(target) if f.name not in ("noise", "initial")}
    return {"component": type(part).__name__, "options": dataclasses.asdict(part), "target": fields}
