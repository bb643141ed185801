"""Turns what a search wants into tasks: with all that they need, and a key of all that they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgegen.choose.cache import Cache
from edgegen.choose.content import (
    BUILDS,
    EVALUATES,
    MEASURES,
    code_of,
    key_of,
    small_files_sha256,
    target_sha256,
    toolkits,
)
from edgegen.choose.problem import FloatModel
from edgegen.choose.search import Action, Search
from edgegen.choose.space import Space
from edgegen.choose.tasks import BuildTask, EvaluateTask, MeasureTask, ModelRef, ProbeTask, Task
from edgegen.choose.work import ref_of
from edgegen.core.codec import encode
from edgegen.core.errors import ConfigError
from edgegen.core.manifest import load_manifest
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.recipe import Arithmetic
from edgegen.models.model_folder import ModelFolder
from edgegen.packaging.integrity import manifest_sha256
from edgegen.packaging.redrawn import write_redrawn
from edgegen.packaging.source_hash import weights_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRef:
    """The device that measures: its address, and what tells it from another behind that."""

    address: str
    root: str | None
    identity: Mapping[str, Any]


@dataclass(kw_only=True)
class Jobs:
    """Makes tasks for the candidates of a space."""

    space: Space
    search: Search
    cache: Cache
    models: Mapping[str, ModelFolder]
    profile: DeviceProfile | None
    device: DeviceRef | None
    pictures: int | None = None
    sustained_s: float | None = None
    patience_s: float | None = None
    progress: Progress = field(default_factory=SilentProgress)
    _contents: dict[str, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def versions(self) -> Mapping[str, str]:
        """Return the versions of what makes packages here."""
        return toolkits()

    def task_for(self, action: Action) -> Task:
        """Return the task that does an action."""
        if action.kind == "probe":
            assert action.model is not None
            return self._probe(action.model)
        if action.kind == "build":
            return self._build(action.package)
        if action.kind == "evaluate":
            return self._evaluate(action.place)
        return self._measure(action)

    def package_key(self, package: str) -> str:
        """Return the key of a package: of its model's bytes, the candidate, and what builds it."""
        if package not in self._keys:
            spec, made = self.space.packages[package], self.space.built_as[package]
            self._keys[package] = key_of(
                "package",
                {
                    "model": self._content_of(spec.model),
                    "candidate": encode(made),
                    "target": target_sha256(spec.target),
                    "code": code_of(BUILDS, with_runner=True),
                    "toolkits": toolkits(),
                },
            )
        return self._keys[package]

    def drawn_package(self, place: int) -> Path:
        """Return a candidate's package, which draws in its steps and size by default.

        It is made of the one that was built, by links, where it isn't there.
        """
        candidate = self.search.problem.candidates[place]
        way, key = candidate.way, self.package_key(candidate.package)
        base = self.cache.package_place(key)
        own = load_manifest(base).generation
        drawn = replace(
            own,
            steps=way.steps,
            width=way.width,
            height=way.height,
            guidance_stop=way.guidance_stop,
            cache_interval=way.cache_interval,
        )
        if drawn == own:
            return base
        part = "" if way.guidance_stop == 1 else f"-guided-{way.guidance_stop:g}"
        cached = "" if way.cache_interval == 1 else f"-cached-{way.cache_interval}"
        name = f"{key}-{way.steps}-{way.width}x{way.height}{part}{cached}"
        if self.cache.package(name) is None:
            place_ = self.cache.package_place(name)
            write_redrawn(base, place_, drawn)
            self.cache.made(place_)
        return self.cache.package_place(name)

    def put_package(self, source: Path, destination: Path) -> None:
        """Put a package of the cache elsewhere, by links where the disk has them."""
        try:
            if manifest_sha256(destination) == manifest_sha256(source):
                return
        except (ConfigError, OSError):
            pass
        write_redrawn(source, destination, load_manifest(source).generation)

    def _content_of(self, model: ModelFolder) -> str:
        """Return a hash of a model: its weights, and its small files."""
        if model.source not in self._contents:
            spec = self.space.facts[model.source].spec
            weights = weights_sha256(model.path, spec.components, self.progress)
            self._contents[model.source] = f"{weights} {small_files_sha256(model.path)}"
        return self._contents[model.source]

    def _build(self, package: str) -> BuildTask:
        spec = self.space.packages[package]
        return BuildTask(
            key=self.package_key(package),
            model=ref_of(spec.model),
            target=spec.target,
            recipe=spec.recipe,
            profile=spec.profile,
            width=spec.width,
            height=spec.height,
            cache_interval=spec.cache_interval,
        )

    def _original_of(self, model: str) -> ModelFolder | None:
        """Return what a model was pruned from; None for one that was not."""
        original = self.search.problem.originals.get(model)
        return None if original is None else self.models[original]

    def _against(self, model: str) -> ModelRef | None:
        original = self._original_of(model)
        return None if original is None else ref_of(original)

    def _judging(self, model: str) -> dict[str, Any]:
        original = self._original_of(model)
        return {
            **({} if original is None else {"against": self._content_of(original)}),
            "model": self._content_of(self.models[model]),
            "pictures": self.pictures,
            "code": code_of(EVALUATES, with_runner=True),
            "toolkits": toolkits(),
        }

    def _probe(self, model: FloatModel) -> ProbeTask:
        about = {**self._judging(model.model), "drawn": encode(model)}
        return ProbeTask(
            key=key_of("probe", about),
            model=ref_of(self.models[model.model]),
            steps=model.steps,
            width=model.width,
            height=model.height,
            guidance_stop=model.guidance_stop,
            cache_interval=model.cache_interval,
            pictures=self.pictures,
            against=self._against(model.model),
        )

    def _evaluate(self, place: int) -> EvaluateTask:
        way = self.search.problem.candidates[place].way
        package = self.drawn_package(place)
        arithmetic = self._arithmetic_of(place)
        about = {
            **self._judging(way.model),
            "package": manifest_sha256(package),
            "arithmetic": arithmetic,
        }
        return EvaluateTask(
            key=key_of("evaluation", about),
            package=str(package),
            model=ref_of(self.models[way.model]),
            steps=way.steps,
            width=way.width,
            height=way.height,
            pictures=self.pictures,
            against=self._against(way.model),
            arithmetic=arithmetic,
        )

    def _arithmetic_of(self, place: int) -> Arithmetic | None:
        """Return the type in which the device computes a candidate; None for its recipe's own."""
        made = self.space.built_as[self.search.problem.candidates[place].package]
        asked, own = made.runtime.arithmetic, made.recipe.compute
        # a graph in 16 bits takes no other type, which measuring says
        return asked if own == "float32" and asked != own else None

    def _measure(self, action: Action) -> MeasureTask:
        assert self.device is not None  # else nothing is measured
        way = self.search.problem.candidates[action.place].way
        package = self.drawn_package(action.place)
        sustained_s = None if action.effort == "look" else self.sustained_s
        about = {
            "package": manifest_sha256(package),
            "device": self.device.identity,
            "profile": encode(self.profile),
            "effort": action.effort,
            "sustained_s": sustained_s,
            "code": code_of(MEASURES, with_runner=True),
        }
        return MeasureTask(
            key=key_of("measurement", about),
            package=str(package),
            device=self.device.address,
            root=self.device.root,
            profile=self.profile,
            steps=way.steps,
            width=way.width,
            height=way.height,
            effort=action.effort,
            sustained_s=sustained_s,
            patience_s=self.patience_s,
        )
