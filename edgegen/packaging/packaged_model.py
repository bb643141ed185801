"""The model that a package was built of: found again, and with the LoRAs that it is drawn with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from edgegen.core.errors import SourceError
from edgegen.core.model import Adapter, PipelineSpec
from edgegen.core.package import ModelSource, PackageManifest
from edgegen.core.progress import Progress
from edgegen.core.reading import AS_IT_IS, Reading
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.adapters.image_prompt import ImagePromptChoice
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.lora_file import lora_for, named, takes_loras
from edgegen.packaging.source_hash import weights_sha256

_FIELDS = tuple(field.name for field in fields(Reading))


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLoras:
    """LoRAs that a package is given when it draws.

    `names` are what results call them, `file` is what its runner reads, and `model` has them added
    to the weights that the package was built from.
    """

    names: tuple[str, ...]
    file: Path
    model: ModelFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart:
    """What a package is compared with.

    `model` is the one that it was built from, None for where the manifest says that it is; `given`
    are LoRAs that both draw with.
    """

    model: ModelFolder | None
    given: GivenLoras | None = None


@contextmanager
def counterpart_of(
    manifest: PackageManifest,
    model: str | None,
    loras: Sequence[str] = (),
    embeddings: Sequence[str] = (),
    image_prompt: ImagePromptChoice | None = None,
    reading: Reading = AS_IT_IS,
) -> Iterator[Counterpart]:
    """Yield what a package is compared with, by what the user types for it.

    LoRAs in the package's weights come first, as many as there are. If its layers take LoRAs, those
    behind them are given to it when it draws; their file is removed afterwards.

    Raises what `resolve`, `with_adapters` and `lora_for` raise.
    """
    inside = len(loras)
    if takes_loras(manifest):
        inside = sum(it.kind == "lora" for it in manifest.source.adapters)
    others = (embeddings, image_prompt)
    built_from = _model_of(manifest, model, (loras[:inside], *others), reading)
    given = loras[inside:]
    with lora_for(manifest, given) as file:
        if file is None:
            yield Counterpart(model=built_from)
            return
        whole = _model_of(manifest, model, (loras, *others), reading)
        assert whole is not None  # LoRAs are given
        with_them = GivenLoras(names=named(given), file=file, model=whole)
        yield Counterpart(model=built_from, given=with_them)


def require_same_weights(
    folder: ModelFolder,
    spec: PipelineSpec,
    manifest: PackageManifest,
    package: Path,
    progress: Progress,
) -> None:
    """Raise SourceError where a package was built from another model, or another revision."""
    found = weights_sha256(folder.path, spec.components, progress)
    if found != manifest.source.weights_sha256:
        raise SourceError(
            f"{folder.base} does not hold the weights that {package} was built from "
            f"({found[:12]}…, not {manifest.source.weights_sha256[:12]}…).",
            hint="Give the same model in the same revision with --model.",
        )


def _require_same_adapters(spec: PipelineSpec, manifest: PackageManifest) -> None:
    """Raise SourceError where what was added to the model isn't what is added to it now."""

    def facts(adapters: Sequence[Adapter]) -> list[Adapter]:
        return [replace(it, name="") for it in adapters]

    wanted = manifest.source.adapters
    if facts(spec.adapters) == facts(wanted):
        return
    options = " ".join(
        f"--embedding 'FILE:{it.tokens[0]}'"
        if it.scale is None
        else f"--{it.kind} FILE:{it.scale:g}"
        for it in wanted
    )
    names = ", ".join(f"{it.name} ({it.sha256[:12]}…)" for it in wanted)
    raise SourceError(
        "The package was built of a model with "
        + (f"these adapters: {names}." if wanted else "no adapter."),
        hint=f"Give their files: {options}"
        if wanted
        else "Leave --lora, --embedding and --ip-adapter out. A package that is given LoRAs when "
        "it draws is built with --lora-as-input.",
    )


def drawn_weights_sha256(
    manifest: PackageManifest, given: GivenLoras | None, progress: Progress
) -> str:
    """Return the hash of the weights that a package draws with, those of given LoRAs added."""
    if given is None:
        return manifest.source.weights_sha256
    components = [component.spec for component in manifest.components]
    return weights_sha256(given.model.path, components, progress)


def _model_of(
    manifest: PackageManifest,
    model: str | None,
    added: tuple[Sequence[str], Sequence[str], ImagePromptChoice | None],
    reading: Reading,
) -> ModelFolder | None:
    """Return the model that is given for a package, with adapters; None where nothing is given."""
    if model is None and not any(added) and reading == AS_IT_IS:
        return None
    return with_adapters(resolve_source(manifest.source, model, reading), *added)


def resolve_source(
    source: ModelSource, model: str | None, given: Reading = AS_IT_IS
) -> ModelFolder:
    """Find the model that a package was built from, or the one that is given instead.

    It is read as the manifest says, but for what is `given`. Raises SourceError.
    """
    said = source.reading or AS_IT_IS
    reading = Reading(**{name: getattr(given, name) or getattr(said, name) for name in _FIELDS})
    if model is not None:
        return resolve(model, variant=source.variant, reading=reading)
    try:
        return resolve(
            source.model, revision=source.revision, variant=source.variant, reading=reading
        )
    except SourceError as error:
        raise SourceError(
            f"The model that the package was built from, {source.model}, cannot be read: "
            f"{error.message}",
            hint="Give its folder or file with --model. " + error.hint,
        ) from error


def packaged_spec(spec: PipelineSpec, manifest: PackageManifest) -> PipelineSpec:
    """Return the model's spec as it was packaged: fixed axes, scheduler, steps and all.

    Raises SourceError where it is another model, or has other adapters.
    """
    packaged = tuple(component.spec for component in manifest.components)
    known = {component.name for component in spec.components}
    own = {it.name for it in packaged if it.role != "shallow_denoiser"}
    if spec.family == manifest.family:
        _require_same_adapters(spec, manifest)
    if spec.family != manifest.family or not own <= known:
        raise SourceError(
            f"{spec.source} is another model: its family is {spec.family}.",
            hint=f"Give the {manifest.family} model that the package was built from.",
        )
    return replace(
        spec,
        components=packaged,
        generation=manifest.generation,
        scheduler=manifest.scheduler or spec.scheduler,
    )
