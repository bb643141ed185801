"""Recipes that are made for a model: the best storage of each layer under a size.

`mixed-4.5` is 4.5 bits a weight on average, with scales and palettes, of the weights that a target
stores in fewer bits at all; `mixed-300MB` is the size of the whole package.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgegen.compress.blocks import BLOCK
from edgegen.compress.codecs import CODECS
from edgegen.core.errors import ConfigError
from edgegen.core.model import Component
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.core.recipe import ActivationType, Quality, Recipe, Rule, Tolerance
from edgegen.core.recipes import load_recipe
from edgegen.core.sensitivity import LayerSensitivity, Sensitivity
from edgegen.core.target import TargetSpec
from edgegen.core.targets import load_target
from edgegen.core.units import three_digits
from edgegen.models.pipeline_source import folder_source
from edgegen.networks import network_of
from edgegen.packaging.candidate import make_candidate, predict
from edgegen.packaging.model_facts import ModelFacts
from edgegen.packaging.predicted import StoredWeight, weight_bytes
from edgegen.packaging.source_hash import weights_sha256
from edgegen.packaging.wanted import Wanted
from edgegen.sensitivity.assign import Assignment, Choice, assign, smallest_bytes
from edgegen.sensitivity.run import measure_sensitivity

PREFIX = "mixed-"
SIZE_SLACK = 0.01
"""Predicted bytes are off by no more than this share: a package is planned so much smaller."""

_BITS = re.compile(r"mixed-(\d{1,2}(?:\.\d{1,3})?)")
_SIZE = re.compile(r"mixed-(\d{1,6}(?:\.\d{1,3})?)(kB|MB|GB)")
_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}
_COMPUTED_BITS = {"float16": 16, "float32": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedSize:
    """What a recipe's name asks for: bits a weight on average, or bytes of the whole package."""

    name: str
    bits: float | None = None
    package_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A recipe that was made for a model and a target, and how good it is.

    `loss` is the sum of what the layers' storages cost, and `gap` the share of it by which another
    assignment of the same size might be better; 0 is proven to be the best.
    """

    recipe: Recipe
    weights_bits: float
    loss: float
    gap: float
    limit_bytes: int | None


def parse_mixed(name: str) -> MixedSize | None:
    """Return what `mixed-4.5` or `mixed-300MB` asks for; None for another name."""
    if match := _SIZE.fullmatch(name):
        return MixedSize(name=name, package_bytes=round(float(match[1]) * _UNITS[match[2]]))
    if match := _BITS.fullmatch(name):
        return MixedSize(name=name, bits=float(match[1]))
    return None


def mix_of(name: str | Recipe | None, target: TargetSpec) -> MixedSize | None:
    """Return the size that the name of a recipe asks for; None where it isn't that of a mix.

    A target's own recipe of such a name is that.
    """
    if not isinstance(name, str) or name in target.recipes:
        return None
    return parse_mixed(name)


def size_named(package_bytes: int) -> MixedSize:
    """Return a size by its bytes, under a name that says it in whole units and no more."""
    for unit, factor in reversed(_UNITS.items()):
        if package_bytes % factor == 0 or package_bytes // factor > 99_999 or unit == "kB":
            break
    return MixedSize(
        name=f"{PREFIX}{package_bytes // factor}{unit}",
        package_bytes=package_bytes // factor * factor,
    )


def of_size(text: str, targets: Sequence[str], recipes: Sequence[str]) -> str:
    """Return the recipe that `--target-size` asks for.

    Raises ConfigError for what isn't a size, and where a recipe is given, too.
    """
    name = f"{PREFIX}{text.strip()}"
    size = parse_mixed(name)
    if size is None or not size.package_bytes:
        raise ConfigError(
            f"--target-size is '{text:.40}', not a size.", hint="Write --target-size 300MB."
        )
    if recipes or any(":" in target for target in targets):
        raise ConfigError(
            "--target-size makes a recipe, and another one is given.",
            hint="Leave the recipe out, or give mixed-300MB among the others.",
        )
    return name


def sensitivity_of(facts: ModelFacts, progress: Progress) -> Sensitivity:
    """Return the table of a model, from the cache where it is there.

    Raises what `measure_sensitivity` raises.
    """
    return measure_sensitivity(
        facts.spec,
        folder_source(facts.folder),
        weights_sha256=weights_sha256(facts.folder, facts.spec.components, progress),
        progress=progress,
    )


def named_as(facts: ModelFacts, table: Sensitivity) -> ModelFacts:
    """Return a model's facts with its layers named as in a table, whatever its files call them."""
    components = {component.name: component for component in facts.spec.components}
    return replace(
        facts,
        weights={
            name: tuple(
                replace(weight, layer=_name(weight.layer, components[name], layers))
                for weight in weights
            )
            for name, weights in facts.weights.items()
            for layers in [table.components.get(name, {})]
        },
    )


def _name(layer: str, component: Component, known: Mapping[str, object]) -> str:
    if layer in known:
        return layer
    rules, key = network_of(component.class_name).keys, f"{layer}.weight"
    others = (*rules.newer(key), rules.tied.get(key, key))
    names = (name.rpartition(".")[0] for name in others)
    return next((name for name in names if name in known), layer)


def make_mixed(
    facts: ModelFacts,
    target: TargetSpec,
    size: MixedSize,
    table: Sensitivity,
    *,
    profile: DeviceProfile | None = None,
    width: int | None = None,
    height: int | None = None,
) -> Mixed:
    """Return the best assignment of storages under a size, as a recipe of the target.

    Storages are those of the target's recipes that want no calibration; layers are multiplied with
    floats, but for those in a storage whose kernels quantize activations as they come. What the
    profile's system or its runtime cannot take is left out, and what is wider than the target
    computes in. Raises ConfigError for a size that is too small, with the smallest that there is,
    and what `make_candidate` raises.
    """
    facts = named_as(facts, table)
    base = _base(target, size.name)

    def bytes_of(recipe: Recipe) -> int:
        made = make_candidate(facts, target, recipe, profile=profile, width=width, height=height)
        return predict(made, facts).package_bytes

    storages = tuple(_usable(facts, target, base, profile))
    keys, layers, numbers = _choices(facts, target, base, table, storages)
    if not layers:
        raise ConfigError(
            f"No layer of {facts.spec.source} can be stored in fewer bits for the target "
            f"'{target.name}'.",
            hint="Take one of its recipes: edgegen targets.",
        )
    smallest = [min(choices, key=lambda it: (it.size_bytes, it.loss)) for choices in layers]
    least = smallest_bytes(layers)
    if size.package_bytes is None:
        assert size.bits is not None
        limit = math.floor(size.bits * numbers / 8)
        if limit < least:
            raise _too_small(size, f"mixed-{math.ceil(800 * least / numbers) / 100:g}")
    else:
        fixed = bytes_of(_assigned(base, target, keys, smallest)) - least
        limit = math.floor(size.package_bytes / (1 + SIZE_SLACK)) - fixed
        if limit < least:
            reachable = (fixed + least) * (1 + SIZE_SLACK)
            raise _too_small(size, _size_name(reachable))
    found = assign(layers, limit)
    recipe = _described(_assigned(base, target, keys, found.chosen), target, found)
    bytes_of(recipe)  # refuses what the profile cannot take
    return Mixed(
        recipe=recipe,
        weights_bits=8 * found.size_bytes / numbers,
        loss=found.loss,
        gap=found.gap,
        limit_bytes=size.package_bytes,
    )


def _size_name(size_bytes: float) -> str:
    """Return the name of the smallest size that isn't below, in kilobytes."""
    return f"{PREFIX}{math.ceil(size_bytes / 1000)}kB"


def _too_small(size: MixedSize, smallest: str) -> ConfigError:
    return ConfigError(
        f"No mix of storages is as small as {size.name.removeprefix(PREFIX)}"
        f"{' bits a weight' if size.bits is not None else ''}.",
        hint=f"The smallest is {smallest}.",
    )


def _base(target: TargetSpec, name: str) -> Recipe:
    """Return the target's default recipe under another name: what isn't assigned is as there."""
    default = load_recipe(target.default_recipe, target)
    return replace(
        default,
        name=name,
        description="",
        sensitive_storage=None,
        palette_channels=None,
        block=None,
        activations="float",
        rules=(),
        quality=None,
    )


def _usable(
    facts: ModelFacts, target: TargetSpec, base: Recipe, profile: DeviceProfile | None
) -> Iterator[str]:
    known = _activations(target)
    for storage in target.storage:
        if storage not in known or CODECS[storage].bits > _COMPUTED_BITS[base.compute]:
            continue
        uniform = replace(base, storage=storage, activations=known[storage])
        try:
            make_candidate(facts, target, uniform, profile=profile)
        except ConfigError:
            continue
        yield storage


def _activations(target: TargetSpec) -> dict[str, ActivationType]:
    """Return the storages of recipes without calibration, and what each is multiplied with.

    That is floats wherever a recipe has the storage with them.
    """
    recipes = [load_recipe(name, target) for name in target.recipes]
    order: tuple[ActivationType, ...] = ("dynamic-int8", "float")  # the later one wins
    return {it.storage: kind for kind in order for it in recipes if it.activations == kind}


def _choices(
    facts: ModelFacts,
    target: TargetSpec,
    base: Recipe,
    table: Sensitivity,
    storages: Sequence[str],
) -> tuple[list[tuple[str, str]], list[list[Choice]], int]:
    """Return each layer that can be assigned, its choices, and how many weights all have."""
    keys: list[tuple[str, str]] = []
    layers: list[list[Choice]] = []
    numbers = 0
    for component in facts.spec.components:
        losses = table.components.get(component.name, {})
        by_layer: dict[str, list[StoredWeight]] = {}
        for weight in facts.weights[component.name]:
            is_large = len(weight.shape) > 1 and math.prod(weight.shape) > target.sizes.small
            if is_large and weight.layer in losses:
                by_layer.setdefault(weight.layer, []).append(weight)
        for layer, weights in by_layer.items():
            keys.append((component.name, layer))
            numbers += sum(math.prod(weight.shape) for weight in weights)
            layers.append(
                [
                    Choice(
                        name=storage,
                        size_bytes=sum(
                            weight_bytes(
                                target.sizes,
                                replace(base, storage=storage).of(component),
                                layer,
                                weight.shape,
                            )
                            for weight in weights
                        ),
                        loss=_loss(losses[layer], target, base, storage, weights),
                    )
                    for storage in storages
                ]
            )
    return keys, layers, numbers


def _loss(
    layer: LayerSensitivity,
    target: TargetSpec,
    base: Recipe,
    storage: str,
    weights: Sequence[StoredWeight],
) -> float:
    """Return what a storage costs a layer, whose weights the target may hold in a wider one."""
    block = base.block or BLOCK
    held = {target.sizes.held_as(storage, weight.shape, block) for weight in weights}
    return max(layer.losses[name] for name in held)


def _assigned(
    base: Recipe,
    target: TargetSpec,
    keys: Sequence[tuple[str, str]],
    chosen: Sequence[Choice],
) -> Recipe:
    """Return a recipe that stores each layer as chosen, and multiplies it as its storage wants."""
    activations = _activations(target)
    assigned: dict[str, dict[str, str]] = {}
    rules: list[Rule] = []
    for (component, layer), choice in zip(keys, chosen, strict=True):
        assigned.setdefault(component, {})[layer] = choice.name
        kind = activations[choice.name]
        if kind != base.activations:
            rules.append(Rule(component=component, layers=layer, activations=kind))
    return replace(base, assigned=assigned, rules=tuple(rules))


def _described(recipe: Recipe, target: TargetSpec, found: Assignment) -> Recipe:
    """Return a recipe with its description, and what the lowest of its storages promises."""
    used = sorted({it.name for it in found.chosen}, key=lambda name: -CODECS[name].bits)
    uniform = [known for storage in used for known in _like(storage, target)]
    tolerances = [known.tolerance for known in uniform] or [recipe.tolerance]
    return replace(
        recipe,
        description=f"Each layer in what serves the pictures best under a size: {', '.join(used)}.",
        tolerance=Tolerance(
            component_psnr_db=min(it.component_psnr_db for it in tolerances),
            trajectory_psnr_db=min(it.trajectory_psnr_db for it in tolerances),
            image_psnr_db=min(it.image_psnr_db for it in tolerances),
        ),
        quality=_lowest([known.quality for known in uniform]),
    )


def _like(storage: str, target: TargetSpec) -> list[Recipe]:
    """Return the recipes that store all layers so, and multiply them as mixes do.

    Without one, those that store most layers so.
    """
    kind = _activations(target)[storage]
    recipes = [load_recipe(name, target) for name in target.recipes]
    found = [it for it in recipes if it.storage == storage and it.activations == kind]
    return [it for it in found if it.storages == {storage}] or found


def _lowest(promises: Sequence[Quality | None]) -> Quality | None:
    """Return what all promise; None where one promises nothing."""
    given = [it for it in promises if it is not None]
    floors = [it.psnr_db for it in given if it.psnr_db is not None]
    if not promises or len(floors) < len(promises):
        return None
    return Quality(psnr_db=min(floors))


def mix_wanted(
    facts: ModelFacts,
    wanted: Sequence[Wanted],
    *,
    profile: DeviceProfile | None,
    width: int | None,
    height: int | None,
    progress: Progress,
) -> tuple[ModelFacts, tuple[Wanted, ...], tuple[Mixed, ...]]:
    """Return what is wanted with a recipe in the place of each name of a mix.

    With it come the facts with their layers named as in the table, and the mixes. Raises what
    `sensitivity_of` and `make_mixed` raise.
    """
    made: list[Wanted] = []
    mixes: list[Mixed] = []
    for each in wanted:
        target = load_target(each.target)
        size = mix_of(each.recipe, target)
        if size is None:
            made.append(each)
            continue
        _refuse_early(facts, target, size, profile=profile, width=width, height=height)
        table = sensitivity_of(facts, progress)
        facts = named_as(facts, table)
        mixed = make_mixed(facts, target, size, table, profile=profile, width=width, height=height)
        mixes.append(mixed)
        made.append(Wanted(target=each.target, recipe=mixed.recipe, limit_bytes=mixed.limit_bytes))
    return facts, tuple(made), tuple(mixes)


def _refuse_early(
    facts: ModelFacts,
    target: TargetSpec,
    size: MixedSize,
    *,
    profile: DeviceProfile | None,
    width: int | None,
    height: int | None,
) -> None:
    """Refuse what no mix changes, before minutes are spent on a table: what the target's default
    recipe is refused for. Raises what `make_candidate` raises."""
    base = _base(target, size.name)
    make_candidate(facts, target, base, profile=profile, width=width, height=height)


def describe(mixed: Mixed) -> str:
    """Return in a line how a mix came about, for people."""
    storages: dict[str, int] = {}
    for layers in mixed.recipe.assigned.values():
        for storage in layers.values():
            storages[storage] = storages.get(storage, 0) + 1
    counts = ", ".join(
        f"{count} {name}"
        for name, count in sorted(storages.items(), key=lambda it: -CODECS[it[0]].bits)
    )
    best = (
        "the best of its size"
        if mixed.gap == 0
        else (f"at most {100 * mixed.gap:.2g} % above the best")
    )
    return (
        f"{mixed.recipe.name}: {three_digits(mixed.weights_bits)} bits a weight, {best}; "
        f"layers: {counts}."
    )
