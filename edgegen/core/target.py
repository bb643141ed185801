"""Target specifications: the facts about one package format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgegen.core.model import Role
from edgegen.core.profile import Shapes
from edgegen.core.recipe import ActivationType, ComputeType, Recipe

CompatibilityResult = Literal["same-image", "loads", "cannot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """One cell of the matrix of what a peer's runtime does with our packages.

    `same-image` is measured by a test; `cannot` says why.
    """

    runtime: str
    runtime_version: str
    loader: str
    family: str
    scheduler: str
    result: CompatibilityResult
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptedFamily:
    """A family that a target cannot hold, and why."""

    family: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSince:
    """The first version of the operating system that can hold a type of storage."""

    storage: str
    minimum_os: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSince:
    """The first version of a runtime that executes what a recipe may ask for.

    `runtime` is a name of `edgegen_runner.runtimes`, `version` its release (`1.18.0`); None is
    that no release does. It concerns
    recipes that store weights as `storage`, that compute in `compute` and that multiply with
    `activations`; None is any. `why` names the operator or kernel.
    """

    runtime: str
    why: str
    version: str | None = None
    storage: str | None = None
    activations: ActivationType | None = None
    compute: ComputeType | None = None

    def concerns(self, recipe: Recipe) -> bool:
        """Return whether a recipe asks for it."""
        return (
            self.storage in (None, *recipe.storages)
            and self.activations in (None, *recipe.activation_types)
            and self.compute in (None, *recipe.compute_types)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSizes:
    """What weights take in a package, for the prediction of its size.

    Up to `small` numbers, and vectors, a weight is stored in the compute type, or in float32 where
    `small_in_float32`. `scale_bytes` is what a scale takes. The graph takes `layer_bytes` for each
    layer with a matrix or a kernel, by the role of the network, `norm_bytes` for each other layer,
    and `widened_bytes` for each weight that is computed with in more bits than it is stored in, by
    the type of storage. `calibrated_bytes` is what a layer takes besides whose activations have
    calibrated ranges, and `calibrated_convolution_bytes` what a convolution takes beyond that;
    `dynamic_bytes` is what a linear layer takes that quantizes its input as it comes. Each number
    of a bias beside calibrated activations has a scale where `calibrated_biases` says so, and takes
    `wide_bias_bytes` more beside activations in 16 bits.

    `matrices_only` are types of storage that only matrices have whose rows are whole blocks, and
    the type that other weights are stored in instead; with `pixels_are_matrices` a kernel of one
    pixel is a matrix. `other_scale_bytes` is what a scale takes in types of storage where that is
    not `scale_bytes`.
    """

    small: int
    small_in_float32: bool
    scale_bytes: int
    layer_bytes: Mapping[Role, int]
    norm_bytes: int
    widened_bytes: Mapping[str, int]
    calibrated_bytes: int = 0
    calibrated_convolution_bytes: int = 0
    dynamic_bytes: int = 0
    calibrated_biases: Literal["all", "convolutions", "none"] = "all"
    wide_bias_bytes: int = 0
    matrices_only: Mapping[str, str] = field(default_factory=dict)
    pixels_are_matrices: bool = False
    other_scale_bytes: Mapping[str, int] = field(default_factory=dict)

    def held_as(self, storage: str, shape: tuple[int, ...], block: int) -> str:
        """Return the type in which a weight is stored where a recipe says `storage`."""
        pixel = self.pixels_are_matrices and set(shape[2:]) == {1}
        if (len(shape) == 2 or pixel) and shape[1] % block == 0:
            return storage
        return self.matrices_only.get(storage, storage)

    def scale_bytes_of(self, storage: str) -> int:
        """Return what a scale of a type of storage takes."""
        return self.other_scale_bytes.get(storage, self.scale_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRunner:
    """What draws from a target's packages without diffusers' or edgegen's code.

    `pipelines` are the diffusers pipelines that it draws as, `autoencoders` the classes of those
    that it decodes with; None is no matter of the class.
    """

    name: str
    knows_added_tokens: bool
    pipelines: tuple[str, ...] | None = None
    autoencoders: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """A package format: what it can hold, how it is laid out, and who can load it.

    `storage` and `activations` are what a recipe may ask for; a type of storage is the name of a
    codec (`compress/codecs.py`). `shapes` are the forms of its axes,
    the usual one first; with fixed shapes the denoiser takes `denoiser_batch` samples a call: with
    1, guidance takes two calls. With `whole_timesteps` the denoiser's timestep is int64 (1,) where
    the model's scheduler has whole ones: the format's own pipelines feed nothing else; with
    `timestep_for_each` it has the samples' batch. With `text_outputs = "used"` a text encoder gives
    out only what its pipeline reads.

    `minimum_os` is the oldest version of the operating system for which a package is made unless a
    profile says, and `storage_since` lists the types of storage that need a later one; palettes of
    groups of channels can be had from `palette_groups_since` on, and never where that is None.
    `runtime_since` lists what needs a later version of a runtime.
    `no_lora_inputs` says why its packages cannot take a LoRA at run time, "" where they can, and
    `no_parts` why its graphs are not cut into files of a size.
    A target holds every family but those that are `excepted`. With `tokenizer_graphs` a tokenizer
    becomes a graph beside its files.
    """

    name: str
    title: str
    description: str
    artifact: str  # the file of a component inside its folder, `model.onnx`
    extra: str  # the extra of `pip install edgegen[...]` that exporting needs
    sizes: StoredSizes
    recipes: tuple[str, ...]
    default_recipe: str
    storage: tuple[str, ...] = ("float32", "float16")
    activations: tuple[ActivationType, ...] = ("float",)
    shapes: tuple[Shapes, ...] = ("dynamic", "fixed")
    denoiser_batch: Literal[1, 2] = 2
    whole_timesteps: bool = False
    timestep_for_each: bool = False
    minimum_os: int | None = None
    storage_since: tuple[StorageSince, ...] = ()
    palette_groups_since: int | None = None
    runtime_since: tuple[RuntimeSince, ...] = ()
    text_outputs: Literal["all", "used"] = "all"
    tokenizer_graphs: bool = False
    no_lora_inputs: str = ""
    no_parts: str = ""
    other_runner: OtherRunner | None = None
    excepted: tuple[ExceptedFamily, ...] = ()
    compatibility: tuple[Compatibility, ...] = ()

    def lacks(self, family: str) -> str | None:
        """Return why packages cannot be of a family; None where they can."""
        return next((it.why for it in self.excepted if it.family == family), None)
