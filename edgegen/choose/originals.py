"""Recognises pruned models: each is held against the model that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgegen.choose.space import Space
from edgegen.core.errors import SourceError
from edgegen.core.progress import Progress
from edgegen.models.model_folder import ModelFolder
from edgegen.models.origin import Origin, read_origin
from edgegen.packaging.source_hash import weights_sha256


def originals_of(
    space: Space, models: Mapping[str, ModelFolder], progress: Progress
) -> dict[str, str]:
    """Return the original of each pruned model, both by what the user called them.

    It is the model with the weights that the pruned one names, whatever its folder is called now;
    of several, the one of that name. Raises SourceError where none of the models is it: beside its
    own pictures, those of a pruned model say nothing.
    """
    known = _Known(space=space, models=models, progress=progress)
    found = {}
    for name, model in models.items():
        origin = read_origin(model.path)
        if origin is not None:
            found[name] = known.original(name, origin)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The models, each hashed once, and only where a pruned one is among them."""

    space: Space
    models: Mapping[str, ModelFolder]
    progress: Progress
    hashes: dict[str, str] = field(default_factory=dict)

    def original(self, name: str, origin: Origin) -> str:
        whole = [it for it, facts in self.space.facts.items() if facts.spec.original is None]
        for other in sorted(whole, key=lambda it: it != origin.model):
            if self._weights(other) == origin.weights_sha256:
                return other
        raise SourceError(
            f"{name} was pruned from {origin.model}, and none of the models given has the weights "
            "of that: there is nothing to hold its pictures against.",
            hint=f"Name the original, too: edgegen choose {origin.model} {name}",
        )

    def _weights(self, name: str) -> str:
        """Return the hash of a model's weights without its adapters."""
        if name not in self.hashes:
            components = self.space.facts[name].spec.components
            base = self.models[name].base
            self.hashes[name] = weights_sha256(base, components, self.progress)
        return self.hashes[name]
