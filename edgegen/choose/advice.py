"""What to change where nothing passes: each change with what it is predicted to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgegen.choose.problem import Candidate, float_model_of
from edgegen.choose.search import Search
from edgegen.choose.slimmer import pruned_for_size, recovered
from edgegen.choose.space import Space
from edgegen.choose.standings import rows_of
from edgegen.core.choice import Advice, Row, Way
from edgegen.core.errors import ConfigError
from edgegen.core.figures import UNKNOWN, Figure, Limit
from edgegen.core.recipes import load_recipe
from edgegen.core.units import format_bytes
from edgegen.networks import TINY_AUTOENCODER, denoiser_of
from edgegen.packaging.candidate import Candidate as PackageCandidate
from edgegen.packaging.candidate import make_candidate, predict
from edgegen.packaging.drawing import FEWEST_STEPS

_MOST = 6
_COMPONENTS_NAMED = 2
ADVISED_INTERVAL = 3
"""`builtin:scenes` draws 38 of 40 right, not 39, with 43 percent of its UNet's operations."""


def advice_for(search: Search, space: Space) -> tuple[Advice, ...]:
    """Return what would help where no candidate passes; nothing where one does.

    It starts from the nearest misses: the candidates whose worst limit is broken by the least.
    """
    if search.winners():
        return ()
    found: dict[str, Advice] = {}
    for row in nearest_misses(search):
        for limit in row.broken:
            for advice in _against(limit, row, search, space):
                found.setdefault(_gist(advice), advice)
    for advice in _unknown(search):
        found.setdefault(_gist(advice), advice)
    return tuple(found.values())[:_MOST]


def _gist(advice: Advice) -> str:
    """Return what tells one change from another: its words before the first bracket."""
    return advice.change.partition(" (")[0]


def nearest_misses(search: Search, most: int = 3) -> tuple[Row, ...]:
    """Return the rows that break their worst limit by the least, the nearest first."""
    broken = [row for row in rows_of(search) if row.standing == "breaks" and row.broken]
    return tuple(sorted(broken, key=_miss)[:most])


def _miss(row: Row) -> tuple[float, int]:
    excesses = [
        limit.excess(figure.value)
        for limit in row.broken
        if (figure := row.figures.get(limit.figure, UNKNOWN)).value is not None
    ]
    return max(excesses, default=float("inf")), len(row.broken)


def _against(limit: Limit, row: Row, search: Search, space: Space) -> Iterator[Advice]:
    if limit.figure in ("latency", "energy"):
        yield from _fewer_steps(limit, row, search)
        yield from _kept_features(limit, row, space)
        yield from _smaller_picture(row, space)
    elif limit.figure == "memory":
        yield from _smaller_picture(row, space)
        yield from _fewer_bits(row, search, space)
    elif limit.figure == "size":
        yield from _fewer_bits(row, search, space)
        candidate = search.problem.candidates[_place_of(row.way, search)]
        originals = search.problem.originals
        yield from pruned_for_size(limit, row, candidate.package, space, originals)
        yield from _tiny_autoencoder(row, space)
    elif limit.kind.of_quality:
        yield from _more_pictures(limit, row)
        yield from _more_steps(limit, row, search, space)
        yield from recovered(row, space, search.problem.originals)
        yield from _more_bits(row, search)
    elif limit.figure == "slowdown":
        yield Advice(
            change="cool the device, or leave pauses between pictures: it slows itself down",
            way=row.way,
        )


def _fewer_steps(limit: Limit, row: Row, search: Search) -> Iterator[Advice]:
    """Say how many steps would be fast enough, by the time of one step."""
    place = _place_of(row.way, search)
    step = search.knowledge.steps.get(place, UNKNOWN)
    figure = row.figures.get(limit.figure, UNKNOWN)
    if figure.value is None or row.way.steps < 2:
        return
    if limit.figure == "latency" and step.value is not None:
        over = (figure.high or figure.value) - limit.value
        steps = row.way.steps - int(-(-over // step.value))
        value = figure.value - (row.way.steps - steps) * step.value
    else:
        steps = max(1, int(row.way.steps * limit.value / figure.value))
        value = figure.value * steps / row.way.steps
    if not _fewest_steps(row.way) <= steps < row.way.steps:
        return
    way = replace(row.way, steps=steps)
    predicted = {limit.figure: _predicted(value, "the time of a step")}
    predicted |= _float_quality(way, search)
    yield Advice(
        change=f"{way.model}: fewer steps, {steps} in place of {row.way.steps} (--steps {steps})",
        way=way,
        predicted=predicted,
    )


def _kept_features(limit: Limit, row: Row, space: Space) -> Iterator[Advice]:
    """Say what a UNet saves that computes all layers in one of three steps; what it costs, no more.

    The others take between nothing and, if they were as dear as the whole ones, all that they took.
    """
    way = replace(row.way, cache_interval=ADVISED_INTERVAL)
    tried = [it for it in space.candidates if it.way == way]
    if row.way.cache_interval > 1 or tried or row.way.steps < FEWEST_STEPS:
        return
    denoiser = next(it for it in space.facts[way.model].spec.components if it.role == "denoiser")
    if denoiser_of(denoiser.class_name).caching is None:
        return
    figure = row.figures.get(limit.figure, UNKNOWN)
    predicted = {}
    if figure.value is not None:
        predicted[limit.figure] = Figure(
            value=figure.value / 2,
            low=figure.value / ADVISED_INTERVAL,
            high=figure.value,
            origin="predicted",
            source="how many steps compute all layers",
        )
    yield Advice(
        change=f"{way.model}: features kept through {ADVISED_INTERVAL} steps "
        f"(--cache-intervals 1,{ADVISED_INTERVAL})",
        way=way,
        predicted=predicted,
    )


def _fewest_steps(way: Way) -> int:
    """Return how few steps a package could draw in, the other settings being the same."""
    return 1 if (way.guidance_stop, way.cache_interval) == (1, 1) else FEWEST_STEPS


def _float_quality(way: Way, search: Search) -> dict[str, Figure]:
    """Return what the model itself reached at steps, where that was judged."""
    known = search.knowledge.float_models.get(float_model_of(way), {})
    return {
        name: replace(figure, origin="predicted", source="the model itself in torch")
        for name, figure in known.items()
        if figure.value is not None
    }


def _smaller_picture(row: Row, space: Space) -> Iterator[Advice]:
    """Say what three quarters of the width and height would do: about half of the pixels."""
    facts = space.facts[row.way.model]
    generation = facts.spec.generation
    multiple = generation.vae_scale_factor * generation.latent_multiple
    width, height = (
        max(multiple, round(side * 0.75 / multiple) * multiple)
        for side in (row.way.width, row.way.height)
    )
    if (width, height) == (row.way.width, row.way.height):
        return
    share = width * height / (row.way.width * row.way.height)
    way = replace(row.way, width=width, height=height)
    predicted = {}
    latency = row.figures.get("latency", UNKNOWN)
    if latency.value is not None:  # attention falls faster than the pixels, weights not at all
        predicted["latency"] = Figure(
            value=latency.value * share,
            low=latency.value * share * share,
            high=latency.value,
            origin="predicted",
            source="by its pixels",
        )
    yield Advice(
        change=f"a smaller picture, {width}×{height} (--sizes {width}x{height})",
        way=way,
        predicted=predicted,
    )


def _fewer_bits(row: Row, search: Search, space: Space) -> Iterator[Advice]:
    """Name the components that take the most, and the smallest recipe of the target."""
    candidate = search.problem.candidates[_place_of(row.way, search)]
    made = space.built_as.get(candidate.package)
    if made is None:
        return
    facts = space.facts_of(row.way)
    sizes = predict(made, facts).component_bytes
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_COMPONENTS_NAMED]
    named = " and ".join(f"{name} ({format_bytes(sizes[name])})" for name in largest)
    yield from _other_recipe(candidate, made, space)
    size = row.figures.get("size", UNKNOWN).value
    if size is None:
        return
    yield Advice(
        change=f"fewer bits on {named}: a recipe of your own with rules for them (--recipes FILE)",
        way=row.way,
        predicted={"size": _predicted(size - sizes[largest[0]] / 2, "half of its bits")},
    )


def _other_recipe(candidate: Candidate, made: PackageCandidate, space: Space) -> Iterator[Advice]:
    """Name the smallest recipe of the target that was not among the candidates."""
    facts, target = space.facts_of(candidate.way), made.target
    tried = {it.way.recipe for it in space.candidates if it.way.target == target.name}
    own = predict(made, facts).package_bytes
    found = []
    for name in target.recipes:
        if name in tried:
            continue
        try:
            other = make_candidate(facts, target, load_recipe(name, target), profile=made.profile)
        except ConfigError:
            continue
        found.append((predict(other, facts).package_bytes, name))
    if found and min(found)[0] < own:
        size_bytes, name = min(found)
        yield Advice(
            change=f"fewer bits: {target.name} {name} (--recipes {name})",
            way=replace(candidate.way, recipe=name),
            predicted={"size": _predicted(float(size_bytes), "the headers of the weights")},
        )


def _tiny_autoencoder(row: Row, space: Space) -> Iterator[Advice]:
    """Say what a tiny autoencoder saves: the decoder and the encoder take what theirs take."""
    facts = space.facts[row.way.model]
    autoencoders = [it for it in facts.spec.components if it.role in ("decoder", "encoder")]
    if not autoencoders or any(it.class_name == TINY_AUTOENCODER for it in autoencoders):
        return
    tiny = next(
        (
            name
            for name, other in space.facts.items()
            if any(it.class_name == TINY_AUTOENCODER for it in other.spec.components)
            and other.spec.family == facts.spec.family
        ),
        None,
    )
    parameters = sum(it.parameters for it in autoencoders)
    size = row.figures.get("size", UNKNOWN)
    shares = parameters / max(1, sum(it.parameters for it in facts.spec.components))
    predicted: Mapping[str, Figure] = {}
    if size.value is not None:
        predicted = {"size": _predicted(size.value * (1 - 0.9 * shares), "a tenth of its weights")}
    what = "a model with a tiny autoencoder (AutoencoderTiny)" + (f": {tiny}" if tiny else "")
    yield Advice(change=what, way=row.way, predicted=predicted)


def _more_pictures(limit: Limit, row: Row) -> Iterator[Advice]:
    """Say that more pictures may settle it, where only the interval is too wide."""
    figure = row.figures.get(limit.figure, UNKNOWN)
    if figure.value is not None and limit.allows(figure.value):
        yield Advice(
            change=f"judge more pictures (--pictures): {limit.kind.title} is within the limit, and "
            "its interval is not",
            way=row.way,
            predicted={limit.figure: replace(figure, origin="predicted")},
        )


def _more_steps(limit: Limit, row: Row, search: Search, space: Space) -> Iterator[Advice]:
    """Name the steps at which the model itself is good enough, else the model's own."""
    own = space.facts[row.way.model].spec.generation.steps
    judged = sorted(
        model.steps
        for model, figures in search.knowledge.float_models.items()
        if model.model == row.way.model
        and model.steps > row.way.steps
        and figures.get(limit.figure, UNKNOWN).passes(limit)
    )
    steps = judged[0] if judged else own
    if steps <= row.way.steps:
        return
    way = replace(row.way, steps=steps)
    yield Advice(
        change=f"{way.model}: more steps, {steps} (--steps {steps})",
        way=way,
        predicted=_float_quality(way, search),
    )


def _more_bits(row: Row, search: Search) -> Iterator[Advice]:
    """Name the candidate of the model that has the most bits, where that was not tried."""
    others = [
        (other.known["size"].value or 0.0, number)
        for number, other in enumerate(search.problem.candidates)
        if other.way.model == row.way.model
        and other.way.steps == row.way.steps
        and "size" in other.known
        and number not in search.knowledge.evaluated
        and not other.refused
    ]
    if others:
        other = search.problem.candidates[max(others)[1]]
        yield Advice(
            change=f"more bits: {other.way.target} {other.way.recipe}",
            way=other.way,
            predicted={"size": other.known["size"]},
        )


def _unknown(search: Search) -> Iterator[Advice]:
    if any(row.standing == "unknown" for row in rows_of(search)):
        yield Advice(
            change="attach the device (--device), or import what was measured on one like it "
            "(edgegen history import FILE): unknowns never pass"
        )


def _place_of(way: Way, search: Search) -> int:
    return next(
        number for number, candidate in enumerate(search.problem.candidates) if candidate.way == way
    )


def _predicted(value: float, source: str) -> Figure:
    return Figure(value=value, low=value * 0.8, high=value * 1.2, origin="predicted", source=source)
