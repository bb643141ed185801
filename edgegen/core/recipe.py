"""What is done to the weights and the arithmetic of each component."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from edgegen.core.model import Component, Role, main_role

ComputeType = Literal["float32", "float16"]
Arithmetic = Literal["float32", "bfloat16", "float16"]
"""In which type a runtime computes what a graph gives in float32."""
ArithmeticWish = Literal["float32", "bfloat16", "float16", "auto"]
ActivationType = Literal["float", "dynamic-int8", "int8", "int16"]
"""What a layer with int8 weights multiplies them with: numbers in the compute type, or integers
whose range is found for each input (dynamic) or was calibrated."""
CALIBRATED: frozenset[ActivationType] = frozenset({"int8", "int16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An exception for the layers that match both patterns (shell-style, `down_blocks.*`).

    With a `role`, only components of that role have such layers. A layer is named by its module
    path inside the component (`mid_block.attentions.0.norm`). A rule that matches nothing is no
    error: one recipe serves models with and without an autoencoder.
    """

    role: Role | None = None
    component: str = "*"
    layers: str = "*"
    storage: str | None = None
    compute: ComputeType | None = None
    activations: ActivationType | None = None

    def speaks_of(self, component: Component) -> bool:
        """Return whether it is about layers of a component."""
        has_role = self.role is None or self.role == main_role(component.role)
        return has_role and fnmatchcase(component.name, self.component)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The lowest PSNR, in decibels, that parity accepts in each of its layers."""

    component_psnr_db: float
    trajectory_psnr_db: float
    image_psnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What the mean over pictures of what the model knows must not be below; None: anything."""

    psnr_db: float | None = None
    ssim: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How weights are stored and in what type the device computes; later rules win.

    A `storage` names a codec, of those that the target lists: `load_recipe` looks.
    `sensitive_storage` is that of the layers that networks declare (`sensitive_layers`); None is no
    exception for them. `palette_channels` is how many output channels share a palette; None is all
    of a tensor. `block` is how many numbers of a weight's second axis share a scale, for the codecs
    that have blocks; None is the codec's own. `assigned` says how single layers are stored, by
    component: what a search found, before all rules.
    `quality` is what `edgegen evaluate` asks for where the user says nothing.
    """

    name: str
    description: str
    storage: str
    compute: ComputeType
    tolerance: Tolerance
    activations: ActivationType = "float"
    sensitive_storage: str | None = None
    palette_channels: int | None = None
    block: int | None = None
    assigned: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    quality: Quality | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def storages(self) -> frozenset[str]:
        """Return every type in which it may store weights."""
        named = {self.storage, self.sensitive_storage, *(rule.storage for rule in self.rules)}
        chosen = {it for layers in self.assigned.values() for it in layers.values()}
        return frozenset({*chosen, *(storage for storage in named if storage is not None)})

    @property
    def activation_types(self) -> frozenset[ActivationType]:
        """Return everything that it may multiply weights of integers with."""
        named = (rule.activations for rule in self.rules)
        return frozenset({self.activations, *(kind for kind in named if kind is not None)})

    @property
    def compute_types(self) -> frozenset[ComputeType]:
        """Return every type that it may compute in."""
        named = (rule.compute for rule in self.rules)
        return frozenset({self.compute, *(kind for kind in named if kind is not None)})

    def calibrated(self, components: Iterable[Component]) -> tuple[str, ...]:
        """Return the names of components with activations whose ranges have to be measured."""
        kinds = {it.name: self.of(it).activation_types for it in components}
        return tuple(name for name, found in kinds.items() if found & CALIBRATED)

    def of(self, component: Component) -> ComponentRecipe:
        """Return what the recipe says of a component's layers."""
        return ComponentRecipe(
            name=self.name,
            storage=self.storage,
            compute=self.compute,
            activations=self.activations,
            rules=tuple(rule for rule in self.rules if rule.speaks_of(component)),
            float32_layers=component.float32_layers,
            sensitive_storage=self.sensitive_storage,
            sensitive_layers=component.sensitive_layers,
            palette_channels=self.palette_channels,
            block=self.block,
            assigned=self.assigned.get(component.name, {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentRecipe:
    """What a recipe says of one component; `rules` are those that speak of it.

    Layers that a network declares (`float32_layers`) compute in float32, except where a rule says
    how they compute. Those that lose most with few bits (`sensitive_layers`) are stored as the
    recipe says of them, except where a rule says otherwise; what is `assigned` wins over all.
    """

    name: str
    storage: str
    compute: ComputeType
    activations: ActivationType
    rules: tuple[Rule, ...]
    float32_layers: tuple[str, ...]
    sensitive_storage: str | None = None
    sensitive_layers: tuple[str, ...] = ()
    palette_channels: int | None = None
    block: int | None = None
    assigned: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def activation_types(self) -> frozenset[ActivationType]:
        """Return everything that its layers may multiply weights of integers with.

        What a rule for all layers (`*`) says is the last word on whatever was said before it.
        """
        found: set[ActivationType] = set()
        for rule in reversed(self.rules):
            if rule.activations is not None:
                found.add(rule.activations)
                if rule.layers == "*":
                    return frozenset(found)
        return frozenset({*found, self.activations})

    def storage_of(self, layer: str) -> str:
        """Return the type in which a layer's weights are stored."""
        if layer in self.assigned:
            return self.assigned[layer]
        for rule in self._rules_of(layer):
            if rule.storage is not None:
                return rule.storage
        if self.sensitive_storage is not None and _matches(layer, self.sensitive_layers):
            return self.sensitive_storage
        return self.storage

    def compute_of(self, layer: str) -> ComputeType:
        """Return the type in which a layer computes."""
        for rule in self._rules_of(layer):
            if rule.compute is not None:
                return rule.compute
        if _matches(layer, self.float32_layers):
            return "float32"
        return self.compute

    def activations_of(self, layer: str) -> ActivationType:
        """Return what a layer with int8 weights multiplies them with."""
        for rule in self._rules_of(layer):
            if rule.activations is not None:
                return rule.activations
        return self.activations

    def _rules_of(self, layer: str) -> Iterator[Rule]:
        """Yield the rules that match a layer, the last one first: later ones win."""
        return (rule for rule in reversed(self.rules) if fnmatchcase(layer, rule.layers))


def _matches(layer: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(layer, pattern) for pattern in patterns)
