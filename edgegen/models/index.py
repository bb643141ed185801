"""Reads `model_index.json`: which class builds the pipeline, and which its components."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError, nearest
from edgegen.families import pipeline_class_names
from edgegen.families.base import Slot
from edgegen.models.fitting import fitting_pipelines
from edgegen.networks import NETWORKS, OLD_NAMES, class_name_of

INDEX_NAME = "model_index.json"
_LIBRARIES = ("diffusers", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineIndex:
    """The content of `model_index.json`.

    `entries` are the components that are there, name → class, `libraries` the modules that these
    come from, by the same names; `settings` are the rest.
    """

    folder: Path
    class_name: str
    entries: Mapping[str, str]
    libraries: Mapping[str, str]
    settings: ComponentConfig

    @classmethod
    def read(cls, folder: Path) -> PipelineIndex:
        """Read the index of a pipeline's folder. Raises SourceError where it is no pipeline's."""
        path = folder / INDEX_NAME
        if not path.is_file():
            raise _not_a_pipeline(folder)
        config = ComponentConfig.read(path)
        named = config.data.get("_class_name")
        found = {
            name: entry
            for name, value in config.data.items()
            if not name.startswith("_") and (entry := _entry(path, name, value)) is not None
        }
        if isinstance(named, list):
            raise _community(path, named, found)
        class_name = config.text("_class_name", "")
        if class_name not in pipeline_class_names():
            raise _unknown(path, class_name, found)
        return cls(
            folder=folder,
            class_name=class_name,
            entries={name: entry for name, (_, entry) in found.items()},
            libraries={name: library for name, (library, _) in found.items()},
            settings=config,
        )

    def networks(self, slot: Slot) -> tuple[tuple[Slot, str], ...]:
        """Return a slot with its network's class: one for each folder, where there are several.

        Raises SourceError as `network` does.
        """
        if slot.several is None or self.entries.get(slot.name) != slot.several:
            return ((slot, self.network(slot)),)
        names = (f"{slot.name}_{number}" for number in itertools.count(1))
        more = itertools.takewhile(lambda name: (self.folder / name).is_dir(), names)
        # whether it is of that class, its config.json says
        return tuple((replace(slot, name=it), slot.classes[0]) for it in (slot.name, *more))

    def network(self, slot: Slot) -> str:
        """Return the class of the network in a slot, by today's name. Raises SourceError."""
        class_name = class_name_of(self.component(slot.name, (*NETWORKS, *OLD_NAMES)))
        if class_name in slot.classes:
            return class_name
        wanted = " or ".join(slot.classes)
        raise SourceError(
            f"{self.folder / INDEX_NAME}: the {slot.name} is a {class_name}, with which a "
            f"{self.class_name} cannot draw, in diffusers neither: it takes a {wanted}.",
            hint=f"Save the pipeline with a {wanted}.{slot.advice and f' {slot.advice}'}",
        )

    def component(self, name: str, known: tuple[str, ...]) -> str:
        """Return the class of a component that must be there. Raises SourceError."""
        class_name = self.entries.get(name)
        if class_name is None:
            raise SourceError(
                f"{self.folder / INDEX_NAME} has no {name}, which {self.class_name} needs.",
                hint=f"Save the whole pipeline, with its {name}.",
            )
        self.check_library(name)
        if class_name not in known:
            raise SourceError(
                f"{self.folder / INDEX_NAME}: edgegen does not know the {name} class "
                f"'{class_name}'.",
                hint=nearest(class_name, known),
            )
        return class_name

    def check_library(self, name: str) -> None:
        """Refuse a component whose class is code that came with the model. Raises SourceError."""
        library = self.libraries[name]
        if library not in _LIBRARIES:
            raise SourceError(
                f"{self.folder / INDEX_NAME}: the {name} is a {self.entries[name]} of the module "
                f"{library}, which is code that came with the model; edgegen runs none.",
                hint=f"Where it is diffusers' own class after all, write that for {library}.",
            )

    def config(self, name: str, class_name: str) -> ComponentConfig:
        """Read a diffusers component's `config.json`. Raises SourceError where it is another's."""
        config = ComponentConfig.of_network(self.folder / name / "config.json")
        found = class_name_of(config.text("_class_name", class_name))
        if found != class_name:
            raise SourceError(
                f"{config.path} is that of a {found}; {INDEX_NAME} says {class_name}.",
                hint="Save the pipeline again with save_pretrained.",
            )
        return config


_Entries = Mapping[str, tuple[str, str]]
"""Components of an index: their library and class by their names."""


def _unknown(path: Path, class_name: str, entries: _Entries) -> SourceError:
    return SourceError(
        f"{path}: edgegen does not know the pipeline class '{class_name}'.",
        hint=f"{nearest(class_name, pipeline_class_names())} "
        + (_advice(path, entries) or "None of those draws with the components of this model."),
    )


def _advice(path: Path, entries: _Entries) -> str:
    """Name the pipelines that take a model's components, empty where none does."""
    classes = {name: class_name for name, (_, class_name) in entries.items()}
    fitting = fitting_pipelines(path.parent, classes)
    if not fitting:
        return ""
    does = "does" if len(fitting) == 2 else "do"
    more = f"; so {does} {', '.join(fitting[1:])}" if len(fitting) > 1 else ""
    return f"Where a {fitting[0]} draws with its components, add --as {fitting[0]}{more}."


def _community(path: Path, named: list[Any], entries: _Entries) -> SourceError:
    return SourceError(
        f"{path}: the pipeline is {' of the module '.join(map(str, reversed(named)))}, a community "
        "pipeline: code that came with the model. edgegen runs none, and draws as diffusers' own "
        "pipelines do.",
        hint=_advice(path, entries)
        or "Where the model draws with one of those, too, load it and save it again: "
        "diffusers.StableDiffusionPipeline.from_pretrained(MODEL).save_pretrained(FOLDER).",
    )


def _entry(path: Path, name: str, value: Any) -> tuple[str, str] | None:
    """Return module and class of an entry; None for a setting and for what is not there."""
    if not isinstance(value, list):
        return None
    if value == [None, None]:
        return None
    if len(value) != 2 or not all(isinstance(item, str) for item in value):
        raise SourceError(
            f"{path}: '{name}' is {value!r}, not a library and a class.",
            hint="Save the pipeline again with save_pretrained.",
        )
    return value[0], value[1]


def _not_a_pipeline(folder: Path) -> SourceError:
    hint = "Give the folder that DiffusionPipeline.save_pretrained wrote."
    if (folder / "config.json").is_file():
        hint = f"This is one component of a pipeline. {hint}"
    elif (folder / "edgegen.json").is_file():
        hint = "This is a package that edgegen made; it is packaged already."
    elif inner := sorted(path.parent for path in folder.glob(f"*/{INDEX_NAME}")):
        hint = f"Did you mean {inner[0]}?"
    elif single := sorted(folder.glob("*.safetensors")):
        hint = f"Give its checkpoint, where that is a whole model: {single[0]}."
    return SourceError(f"{folder} is not a diffusers pipeline: it has no {INDEX_NAME}.", hint=hint)
