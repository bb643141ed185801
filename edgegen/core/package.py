"""A package's manifest (`edgegen.json`) and the evidence beside it (`evidence.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgegen_runner.contexts import CONTEXTS, is_of

from edgegen.core.mark import PACKAGE_MARK
from edgegen.core.model import (
    Adapter,
    Component,
    FamilyFacts,
    Generation,
    LoraInput,
    NativeTensor,
    SchedulerSpec,
)
from edgegen.core.profile import OperatorSet, Shapes
from edgegen.core.reading import Reading
from edgegen.core.recipe import Recipe

MANIFEST_NAME = PACKAGE_MARK
EVIDENCE_NAME = "evidence.json"
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where the weights come from. `weights_sha256` is a hash over all weight files' hashes.

    `variant` is the one that was asked for; which components have it, each of them says.
    `adapters` are what was added to the weights, in that order; `weights_sha256` counts them.
    `reading` is what else was said of the model, with names of files only; `form` is what it was
    stored as, where that was no diffusers folder.
    """

    model: str
    revision: str | None
    weights_sha256: str
    licence: str | None
    variant: str | None = None
    adapters: tuple[Adapter, ...] = ()
    reading: Reading | None = None
    form: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file of the package. `path` is relative to it, with forward slashes."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedComponent:
    """A component and its artifact; `path` is the file that the runtime opens.

    `natives` are the tensors that are called otherwise in it, or laid out otherwise. `lora_inputs`
    are the layers that take a LoRA at run time, by their path: `down_blocks.0.….to_q`.
    """

    spec: Component
    path: str
    storage_bytes: int
    natives: Mapping[str, NativeTensor] = field(default_factory=dict)
    lora_inputs: Mapping[str, LoraInput] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The chip whose NPU the components were compiled for, and by what.

    `chip` is its name in `edgegen.core.chips`, `part` its maker's. `compiler` is the distribution
    that brings the compiler and its version, `sdk` the compiler's own, `effort` how hard it tried,
    1 to 3, None where nobody kept it. `on_processor` counts the
    nodes that the NPU didn't take, by component; those without any are left out. `contexts` counts
    the contexts of components that have more than one. Of a package for several chips, `folder` is
    where this one's contexts lie in the folder of each component.
    """

    chip: str
    part: str
    architecture: int
    soc_model: int
    vtcm_bytes: int
    compiler: str
    sdk: str
    on_processor: Mapping[str, int] = field(default_factory=dict)
    contexts: Mapping[str, int] = field(default_factory=dict)
    effort: int | None = None
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """What any device can check itself with.

    `probes` is an `.npz`-free folder of `.npy` files: `<component>.in.<input>.npy` and
    `<component>.out.<output>.npy` as torch computed them in fp32, and the `latents.npy` and
    `image.npy` (float32, (batch, channels, height, width), −1…1) of a run of few steps.
    """

    folder: str
    prompt: str | None
    negative_prompt: str | None
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    scheduler: str
    strength: float | None = None  # of a pipeline that redraws a picture
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    cache_interval: int = 1
    decode_tile: int | None = None  # latents a side; the picture at once where there is none
    image_guidance: float | None = None  # of a pipeline that edits a picture
    noise_level: int | None = None  # of a pipeline that enlarges a picture
    class_label: int | None = None  # of a pipeline that draws images of classes


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeNeed:
    """The first version of a runtime that executes the package, and why; None: no version does."""

    runtime: str
    why: str
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageManifest:
    """Everything that is known of a package when it is built. It never changes afterwards.

    `compiled` has the chips that it was compiled for; it is empty for components that any device's
    runtime compiles itself.
    """

    schema_version: int
    source: ModelSource
    family: str
    facts: FamilyFacts
    pipeline_class: str
    generation: Generation
    components: tuple[PackagedComponent, ...]
    target: str
    profile: str | None
    recipe: Recipe
    operators: OperatorSet
    shapes: Shapes
    operator_sets: Mapping[str, int]
    toolkits: Mapping[str, str]
    files: tuple[Artifact, ...]
    scheduler: SchedulerSpec | None = None  # packages of before edgegen kept it have none
    golden: GoldenCase | None = None
    parity_failed: bool = False
    runtime_since: tuple[RuntimeNeed, ...] = ()
    compiled: tuple[Compiled, ...] = ()

    @property
    def runs_as(self) -> str:
        """Return what its runtimes are found by: the target, or that it was compiled."""
        return CONTEXTS if self.compiled else self.target

    def files_for(self, chip: str | None) -> tuple[Artifact, ...]:
        """Return the files that a device with a chip needs: all but other chips' contexts.

        None is a device that doesn't say which it has: it needs all.
        """
        others = {it.folder for it in self.compiled if chip not in (None, it.chip)}
        return tuple(file for file in self.files if not is_of(file.path, others))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityCheck:
    """One comparison with torch. `layer` is component, trajectory or image.

    Where it passed, `psnr_db` is None for outputs that are equal. Where it failed, both figures are
    None if there is nothing to compute them from: an output that is missing, or not finite. `chip`
    is the one whose contexts computed, of a package for several.
    """

    layer: str
    name: str
    psnr_db: float | None
    threshold_db: float
    max_abs_error: float | None
    passed: bool
    why: str = ""
    chip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What a stage of the build cost: processor time of the tree, and its highest sum of PSS.

    `packages` is how many packages were made of what it made; each lists the stage as a whole.
    """

    stage: str
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int | None
    packages: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured of a package after it was built."""

    manifest_sha256: str
    parity: tuple[ParityCheck, ...] = ()
    costs: tuple[StageCost, ...] = ()
    emulated: bool = False
