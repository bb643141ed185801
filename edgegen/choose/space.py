"""The candidates: models, targets, recipes, steps and sizes, each with what is known beforehand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from edgegen.choose.problem import Candidate
from edgegen.core.choice import Way
from edgegen.core.errors import ConfigError, nearest
from edgegen.core.figures import Figure
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import MIXES, load_recipe
from edgegen.core.target import TargetSpec
from edgegen.core.targets import load_target
from edgegen.models.model_folder import ModelFolder
from edgegen.packaging.candidate import Candidate as PackageCandidate
from edgegen.packaging.candidate import always_guides, make_candidate, predict
from edgegen.packaging.drawing import drawn_with
from edgegen.packaging.mixed import mix_of, parse_mixed
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.predict.figures import size_figure

_SIZE = re.compile(r"([0-9]{1,5})(?:[x×]([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a command line asks for. None and () leave it to the profile, the target or the model.

    `targets` may name a recipe each (`onnx:fp16`). `sizes` are widths and heights in pixels.
    """

    targets: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    guidance_stops: tuple[float, ...] = ()
    cache_intervals: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSpec:
    """A package that could be built: everything but where it goes.

    `width` and `height` are None where it is built at the model's or the profile's own size. With
    a `cache_interval` above 1 it keeps features between steps, and draws at any such interval.
    """

    model: ModelFolder
    target: str
    recipe: Recipe
    profile: DeviceProfile | None
    width: int | None
    height: int | None
    cache_interval: int = 1


@dataclass(kw_only=True)
class Space:
    """All candidates, and the packages that they share, by the candidates' `package`.

    `facts` are those of each model, by what the user called it, and `cached_facts` those of the
    models that keep features; `built_as` is what each package is made of.
    """

    candidates: list[Candidate] = field(default_factory=list)
    packages: dict[str, PackageSpec] = field(default_factory=dict)
    facts: dict[str, ModelFacts] = field(default_factory=dict)
    cached_facts: dict[str, ModelFacts] = field(default_factory=dict)
    built_as: dict[str, PackageCandidate] = field(default_factory=dict)

    def facts_of(self, way: Way) -> ModelFacts:
        """Return the facts of what draws as a candidate does."""
        return (self.facts if way.cache_interval == 1 else self.cached_facts)[way.model]

    def cached(self, model: ModelFolder, interval: int) -> ModelFacts:
        """Return the facts of a model that keeps features, with its shallow graph.

        Raises ConfigError for one that cannot.
        """
        if model.source not in self.cached_facts:
            self.cached_facts[model.source] = read_facts(model, cache_interval=interval)
        return self.cached_facts[model.source]


def parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Read `512,384` or `512x768`: widths and heights in pixels.

    Raises ConfigError for what is not a size.
    """
    found = []
    for word in text.split(","):
        match = _SIZE.fullmatch(word.strip())
        if match is None or int(match[1]) == 0 or match[2] == "0":
            raise ConfigError(
                f"--sizes has '{word.strip():.40}', which isn't a size in pixels.",
                hint="Write --sizes 512,384, or --sizes 512x768.",
            )
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(dict.fromkeys(found))


def parse_steps(text: str) -> tuple[int, ...]:
    """Read `4,8,20`; raises ConfigError for what is not a number of steps."""
    words = _words(
        text,
        r"[0-9]{1,4}",
        f"--steps is '{text:.40}', not a list of numbers of steps.",
        hint="Write --steps 4,8,20.",
    )
    return tuple(sorted({int(word) for word in words}))


def parse_stops(text: str) -> tuple[float, ...]:
    """Read `1,0.6`: until which part of the steps images are guided, 0…1.

    Raises ConfigError for what is no such part.
    """
    words = _words(
        text,
        r"1(\.0*)?|0?\.[0-9]{1,4}",
        f"--guidance-stops is '{text:.40}', not a list of parts of the steps.",
        hint="Write --guidance-stops 1,0.6: all steps, and the first 60 percent.",
    )
    return tuple(dict.fromkeys(map(float, words)))


def parse_shares(text: str) -> tuple[float, ...]:
    """Read `0.8,0.5`: which shares of a denoiser's weights pruned models keep, between 0 and 1.

    Raises ConfigError for what is no such share.
    """
    words = _words(
        text,
        r"0?\.[0-9]{1,4}",
        f"--prune is '{text:.40}', not a list of shares between 0 and 1.",
        hint="Write --prune 0.8,0.5: models that keep 80 and 50 percent of the weights, too.",
    )
    return tuple(dict.fromkeys(map(float, words)))


def parse_intervals(text: str) -> tuple[int, ...]:
    """Read `1,3`: of how many steps one computes all layers.

    Raises ConfigError for what is no such number.
    """
    words = _words(
        text,
        r"[0-9]{1,4}",
        f"--cache-intervals is '{text:.40}', not a list of numbers of steps.",
        hint="Write --cache-intervals 1,3: all layers in each step, and in one of three.",
    )
    return tuple(dict.fromkeys(map(int, words)))


def _words(text: str, pattern: str, problem: str, *, hint: str) -> list[str]:
    """Read words between commas that match a pattern; raises ConfigError for others and for 0."""
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(pattern, word) and float(word) for word in words):
        raise ConfigError(problem, hint=hint)
    return words


def make_space(
    models: Sequence[ModelFolder],
    wanted: Wanted,
    *,
    profile: DeviceProfile | None,
    targets: Sequence[str],
) -> Space:
    """Return all candidates; `targets` are those of the device, where none are asked for.

    A candidate that cannot be built is one all the same, with the reason. Mixes that are named are
    left to `add_mixes`. Raises ConfigError for a target or recipe that there is not, and
    SourceError for a model that cannot be read.
    """
    space = Space()
    pairs = list(_pairs(wanted, targets))
    for model in models:
        facts = read_facts(model)
        space.facts[model.source] = facts
        for target, recipe in pairs:
            add_candidates(space, model, facts, target, recipe, wanted, profile)
    return space


def _pairs(wanted: Wanted, targets: Sequence[str]) -> Iterator[tuple[TargetSpec, Recipe]]:
    """Yield each target with each of its recipes that is asked for, but mixes."""
    named = [word.partition(":") for word in wanted.targets] or [(it, "", "") for it in targets]
    specs = {name: load_target(name) for name, _, _ in named}
    _check_recipes(wanted.recipes, specs)
    seen: dict[tuple[str, str], tuple[Recipe, str]] = {}
    for name, colon, own in named:
        target = specs[name]
        asked = (own,) if colon else wanted.recipes or target.recipes
        for word in asked:
            if mix_of(word, target) is not None or not (colon or _is_of(word, target)):
                continue
            recipe = load_recipe(word, target)
            known, source = seen.setdefault((name, recipe.name), (recipe, word))
            if known is recipe:
                yield target, recipe
            elif known != recipe:
                raise ConfigError(
                    f"'{source:.80}' and '{word:.80}' are different recipes for {name}, and both "
                    f"are called '{recipe.name:.40}'.",
                    hint="Give one of them another name, in the first lines of its file.",
                )


def _is_of(word: str, target: TargetSpec) -> bool:
    """Return whether a target may have a recipe: a file of the user's own is tried on each."""
    return word in target.recipes or word.endswith(".toml")


def _check_recipes(recipes: Sequence[str], targets: Mapping[str, TargetSpec]) -> None:
    known = {recipe for target in targets.values() for recipe in target.recipes}
    for word in recipes:
        is_known = any(_is_of(word, target) for target in targets.values())
        if not is_known and parse_mixed(word) is None:
            raise ConfigError(
                f"None of the targets {', '.join(targets)} has a recipe '{word:.40}'.",
                hint=nearest(word, (*known, *MIXES)),
            )


def add_candidates(
    space: Space,
    model: ModelFolder,
    facts: ModelFacts,
    target: TargetSpec,
    recipe: Recipe,
    wanted: Wanted,
    profile: DeviceProfile | None,
) -> None:
    """Add the candidates of a model, a target and a recipe: each size, and each number of steps."""
    intervals = wanted.cache_intervals or (1,)
    if 1 in intervals:
        _add_sizes(space, model, facts, (target, recipe), wanted, profile, (1,))
    cached = tuple(interval for interval in intervals if interval > 1)
    if not cached:
        return
    try:
        cached_facts = space.cached(model, min(cached))
    except ConfigError as error:
        names = target.name, recipe.name
        for size in wanted.sizes or (None,):
            add_refused(space, model, facts, names, wanted, error.message, size, cached)
        return
    _add_sizes(space, model, cached_facts, (target, recipe), wanted, profile, cached)


def _add_sizes(
    space: Space,
    model: ModelFolder,
    facts: ModelFacts,
    pair: tuple[TargetSpec, Recipe],
    wanted: Wanted,
    profile: DeviceProfile | None,
    intervals: Sequence[int],
) -> None:
    """Add the candidates of a package, or of several of fixed sizes, at some intervals."""
    target, recipe = pair
    names = target.name, recipe.name
    for size in wanted.sizes or (None,):
        width, height = size or (None, None)
        try:
            made = make_candidate(
                facts, target, recipe, profile=profile, width=width, height=height
            )
        except ConfigError as error:
            add_refused(space, model, facts, names, wanted, error.message, size, intervals)
            continue
        own_size = made.runtime.shapes == "dynamic"
        if own_size:  # one package draws every size
            made = make_candidate(facts, target, recipe, profile=profile)
        generation = made.spec.generation
        drawn = width or generation.width, height or generation.height
        name = " ".join(
            [
                *(model.source, target.name, recipe.name),
                *(() if own_size else (f"{drawn[0]}x{drawn[1]}",)),
                *(("cached",) if generation.cache_interval > 1 else ()),
            ]
        )
        space.packages[name] = PackageSpec(
            model=model,
            target=target.name,
            recipe=recipe,
            profile=profile,
            width=None if own_size else width,
            height=None if own_size else height,
            cache_interval=generation.cache_interval,
        )
        space.built_as[name] = made
        known = {"size": size_figure(predict(made, facts))}
        _add_steps(space, model, facts, names, drawn, name, known, wanted, "", intervals)


def add_refused(
    space: Space,
    model: ModelFolder,
    facts: ModelFacts,
    pair: tuple[str, str],
    wanted: Wanted,
    why: str,
    size: tuple[int, int] | None = None,
    intervals: Sequence[int] | None = None,
) -> None:
    """Add the candidates of a target and a recipe, by their names, that cannot be built.

    At all intervals that are asked for, or at some of them.
    """
    own = facts.spec.generation
    intervals = intervals or wanted.cache_intervals or (1,)
    drawn = size or (own.width, own.height)
    _add_steps(space, model, facts, pair, drawn, "", {}, wanted, why, intervals)


def _add_steps(
    space: Space,
    model: ModelFolder,
    facts: ModelFacts,
    pair: tuple[str, str],
    size: tuple[int, int],
    package: str,
    known: Mapping[str, Figure],
    wanted: Wanted,
    refused: str,
    intervals: Sequence[int],
) -> None:
    target, recipe = pair
    for steps in wanted.steps or (facts.spec.generation.steps,):
        way = Way(
            model=model.source,
            target=target,
            recipe=recipe,
            steps=steps,
            width=size[0],
            height=size[1],
        )
        for stop, interval in product(wanted.guidance_stops or (1.0,), intervals):
            why = refused or _drawing_problem(facts, steps, stop, interval)
            if not why and stop < 1 and always_guides(space.built_as[package].components):
                why = "its denoiser computes two samples a call, guided or not"
            space.candidates.append(
                Candidate(
                    way=replace(way, guidance_stop=stop, cache_interval=interval),
                    package=package,
                    known=known,
                    refused=why,
                )
            )


def _drawing_problem(facts: ModelFacts, steps: int, stop: float, interval: int) -> str:
    """Return why a model cannot draw in so many steps, guided until a part of them."""
    try:
        drawn_with(
            facts.spec, facts.folder, steps=steps, guidance_stop=stop, cache_interval=interval
        )
    except ConfigError as error:
        return error.message
    return ""
