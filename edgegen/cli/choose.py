"""`edgegen choose`: the smallest package that meets a device's limits, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.choose.engine import DEFAULT, ENGINES
from edgegen.cli.command import command
from edgegen.cli.completion import (
    complete_model,
    complete_profile,
    known_models,
    known_profiles,
    known_targets,
)
from edgegen.cli.console import Console
from edgegen.cli.durations import DURATION
from edgegen.cli.limit_options import limit_options, parameters, take_limits
from edgegen.cli.on_device import DEVICE, DEVICE_HELP, patience_option, root_option
from edgegen.cli.shared_options import (
    ADAPTERS,
    READING,
    adapter_options,
    no_history_option,
    no_lora_as_input,
    offline_option,
    reading_options,
    take_reading,
    variant_option,
)
from edgegen.core.errors import (
    INTERRUPTED_EXIT_CODE,
    BudgetNotMetError,
    ConfigError,
    EdgegenError,
)
from edgegen.core.figures import FIGURES

if TYPE_CHECKING:
    from edgegen.choose.cache import Cache
    from edgegen.choose.engine import Engine
    from edgegen.choose.prepare import Asked, Place, Prepared
    from edgegen.core.choice import Choice
    from edgegen.core.measurement import Measurement
    from edgegen.core.profile import DeviceProfile

_LIMITS = tuple(FIGURES)


@command(
    examples=(
        "edgegen choose builtin:scenes-4step -d local --max-size 20MB --min-right 0.9",
        "edgegen choose builtin:scenes builtin:scenes-4step -d ssh://pi@raspberrypi.local "
        "--steps 4,8,20 --max-latency 2s",
        "edgegen choose ./my-model -p iphone-15-pro --max-size 1.5GB --min-psnr 30dB",
    ),
    groups={
        "Where": ("device", "root", "profile", "patience_s"),
        "Limits (default: the profile's budget)": parameters(_LIMITS),
        "Candidates": (
            *("targets", "recipes", "steps", "sizes"),
            *("guidance_stops", "cache_intervals", "prune", "prefer"),
        ),
        "How": ("only_plan", "pictures", "sustained_s", "exhaustive", "fresh"),
        "Who does it": ("engine", "address"),
        "The models": (*ADAPTERS, "variant", "offline", *READING),
        "The result": ("output", "as_json", "no_history"),
    },
    values={"MODEL": known_models, "--targets": known_targets, "--profile": known_profiles},
    ends_with=(
        "MissingDependencyError",
        "DeviceError",
        "BudgetNotMetError",
        "SourceError",
        "ResourceError",
    ),
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL…", shell_complete=complete_model)
@click.option("--device", "-d", type=DEVICE, metavar="DEVICE", help=DEVICE_HELP)
@root_option
@click.option(
    "-p",
    "--profile",
    shell_complete=complete_profile,
    help="Device profile, for a device that isn't here, or in place of the one that fits it.",
)
@patience_option
@limit_options(_LIMITS)
@click.option(
    "-t",
    "--targets",
    metavar="TARGET[:RECIPE],…",
    help="Package formats. Default: those of the profile's runtimes, else those that run here.",
)
@click.option(
    "-r",
    "--recipes",
    metavar="RECIPE,…",
    help="Default: all of each target. `mixed-300MB` is made for each model.",
)
@click.option("--steps", metavar="N,…", help="Default: each model's own.")
@click.option(
    "--guidance-stops",
    metavar="PART,…",
    help="Until which part of the steps images are guided: 1,0.6. Default: all steps.",
)
@click.option(
    "--cache-intervals",
    metavar="N,…",
    help="Steps to one that computes all layers of the UNet: 1,2,3. Default: 1, each step.",
)
@click.option(
    "--prune",
    metavar="SHARE,…",
    help="Pruned models that keep so much of the denoiser's weights, too: 0.8,0.5. Default: none.",
)
@click.option("--sizes", metavar="PIXELS,…", help="512,384 or 512x768. Default: the model's own.")
@click.option(
    "--prefer",
    metavar="MODEL,…",
    help="Your order of the models, the best first; a smaller package of a later one doesn't win.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be tried, and how long.")
@click.option(
    "--pictures",
    type=click.IntRange(2),
    metavar="N",
    help="Pictures that the quality of a candidate is judged by. Default: the suite's.",
)
@click.option(
    "--sustained",
    "sustained_s",
    type=DURATION,
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="How long images are made for --max-slowdown.",
)
@click.option(
    "--all", "exhaustive", is_flag=True, help="Try every candidate, whatever is known of it."
)
@click.option("--fresh", is_flag=True, help="Take nothing that an earlier run made or measured.")
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default=DEFAULT,
    show_default=True,
    help="Who builds, judges and measures.",
)
@no_lora_as_input(
    "what `choose` builds is as the device's profile says",
    "Put `lora_as_input = true` under the profile's runtime of the target onnx, and give that file "
    "with --profile.",
)
@click.option("--address", metavar="ADDRESS", help="Where the engine's machines are found.")
@adapter_options
@variant_option
@reading_options
@offline_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the result goes. Default: choice-<models>-<device>.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@no_history_option
@click.pass_context
def choose(
    context: click.Context,
    /,
    models: tuple[str, ...],
    device: str | None,
    profile: str | None,
    only_plan: bool,
    fresh: bool,
    engine: str,
    address: str | None,
    output: Path | None,
    as_json: bool,
    no_history: bool,
    **options: Any,
) -> int:
    """Find the smallest package of MODEL… that meets a device's limits, and say why it is that one.

    Candidates are models × targets × recipes × steps × sizes × parts of the steps that are guided.
    What cannot pass by what is predicted is dropped; the rest is built, compared with torch, judged
    by its pictures and, last, measured on the device, the smallest first, until nothing that was
    not tried can win. What was made is kept by its content: a run that was interrupted goes on
    where it was.
    """
    from edgegen.choose.cache import Cache
    from edgegen.choose.engine import open_engine
    from edgegen.choose.prepare import output_folder, prepare
    from edgegen.cli.choose_view import show_plan
    from edgegen.devices.profiles import load_profile

    console = context.find_object(Console) or Console()
    if device is None and profile is None:
        raise ConfigError(
            "It is not said for which device.",
            hint="Add --device (`local` is this machine), or --profile for one that isn't here.",
        )
    if any(options[name] for name in ADAPTERS) and engine != DEFAULT:
        raise ConfigError(
            f"--lora, --embedding and --ip-adapter are for the engine '{DEFAULT}': the machines of "
            "another one lack the files.",
            hint="Leave --engine out, or fuse the LoRA into the model first.",
        )
    asked = _asked(console, models, options)
    cache = Cache(fresh=fresh)
    with open_engine(engine, cache, console.progress, address=address) as opened:
        wanted = None if profile is None else load_profile(profile)
        place = _place(console, opened, device, wanted)
        prepared = prepare(asked, place, cache, console.progress)
        for warning in (*opened.warnings, *prepared.warnings):
            console.warn(warning)
        if only_plan:
            show_plan(console, prepared, as_json=as_json)
            return 0
        folder = output_folder(output, asked.models, place)
        keep = None if no_history else _keeping(console)
        choice, gone = _run(console, prepared, cache, folder, keep, opened)
    return _end(console, choice, folder, gone, as_json=as_json)


def _asked(console: Console, models: tuple[str, ...], options: dict[str, Any]) -> Asked:
    """Return what the options ask for. Raises ConfigError for what they cannot."""
    from edgegen.choose.mixes import may_mix
    from edgegen.choose.prepare import Asked
    from edgegen.choose.space import (
        Wanted,
        parse_intervals,
        parse_shares,
        parse_sizes,
        parse_steps,
        parse_stops,
    )
    from edgegen.models.adapters.adapted_folder import with_adapters
    from edgegen.models.adapters.image_prompt import image_prompt_choice
    from edgegen.models.source import resolve
    from edgegen.pruning.variants import variants_of

    limits, reading = take_limits(options, _LIMITS), take_reading(options)
    steps, sizes, stops = options["steps"], options["sizes"], options["guidance_stops"]
    intervals = options["cache_intervals"]
    wanted = Wanted(
        targets=_words("--targets", options["targets"]),
        recipes=_words("--recipes", options["recipes"]),
        steps=() if steps is None else parse_steps(steps),
        sizes=() if sizes is None else parse_sizes(sizes),
        guidance_stops=() if stops is None else parse_stops(stops),
        cache_intervals=() if intervals is None else parse_intervals(intervals),
    )
    prompt_by = image_prompt_choice(options["ip_adapter"], options["image_encoder"])
    folders = tuple(
        with_adapters(
            resolve(
                model,
                variant=options["variant"],
                reading=reading,
                offline=options["offline"],
                progress=console.progress,
            ),
            options["loras"],
            options["embeddings"],
            prompt_by,
            offline=options["offline"],
            progress=console.progress,
        )
        for model in dict.fromkeys(models)
    )
    shares = () if options["prune"] is None else parse_shares(options["prune"])
    if shares:
        mixes = may_mix(wanted, limits)
        pruned = [
            variants_of(folder, shares, console.progress, with_sensitivity=mixes)
            for folder in folders
        ]
        folders = (*folders, *(variant for each in pruned for variant in each))
    return Asked(
        models=folders,
        wanted=wanted,
        limits=limits,
        prefer=_words("--prefer", options["prefer"]),
        pictures=options["pictures"],
        sustained_s=options["sustained_s"],
        patience_s=options["patience_s"],
        exhaustive=options["exhaustive"],
    )


def _words(option: str, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise ConfigError(f"{option} is empty.", hint="Name at least one, or leave it out.")
    return words


def _place(
    console: Console, engine: Engine, address: str | None, profile: DeviceProfile | None
) -> Place:
    """Return where the packages are to run; a device is asked what it is, and left again."""
    from edgegen.choose.prepare import place_of_device, place_of_profile
    from edgegen.cli.on_device import attached, chosen_root

    if address is None:
        assert profile is not None  # else there was nothing to choose for
        return place_of_profile(profile)
    place = engine.place(address, chosen_root(), profile)
    if place is not None:
        return place
    with attached(address, console.progress, console.note) as device:
        return place_of_device(device, chosen_root(), profile)


def _run(
    console: Console,
    prepared: Prepared,
    cache: Cache,
    folder: Path,
    keep: Callable[[Measurement], None] | None,
    engine: Engine,
) -> tuple[Choice, EdgegenError | None]:
    """Run a choice, and write its result and its page; return it with what ended it early."""
    import shlex
    import sys
    from dataclasses import replace

    from edgegen.choose.advice import advice_for
    from edgegen.choose.run import Run, Setting
    from edgegen.cli.choose_view import watching
    from edgegen.report.choice_files import write as write_page

    place = prepared.place
    setting = Setting(
        command=shlex.join(["edgegen", *sys.argv[1:]]),
        device=None if place.device is None else place.device.address,
        device_title=place.title,
        profile=None if place.profile is None else place.profile.name,
        limits=prepared.limits,
        output=folder,
        warnings=(*engine.warnings, *prepared.warnings),
    )
    with watching(console) as (watcher, progress):
        run = Run(
            setting=setting,
            search=prepared.search,
            jobs=prepared.jobs,
            cache=cache,
            watcher=watcher,
            keep=keep,
        )
        prepared.jobs.progress = engine.progress = progress
        known = len(engine.warnings)
        run.go(engine)
        run.setting = replace(setting, warnings=(*engine.warnings, *prepared.warnings))
        run.put_winners()
    for warning in engine.warnings[known:]:
        console.warn(warning)
    is_whole = run.interrupted is None
    choice = run.write(advice_for(prepared.search, prepared.space) if is_whole else ())
    for warning in choice.warnings[len(run.setting.warnings) :]:
        console.warn(warning)
    write_page(folder)
    return choice, run.gone


def _keeping(console: Console) -> Callable[[Measurement], None]:
    """Return what puts a measurement into the history; what is in the way is a warning, once."""
    from edgegen.history.keep import keep

    said: set[str] = set()

    def into_history(measurement: Measurement) -> None:
        problem = keep(measurement)
        if problem is not None and problem.message not in said:
            said.add(problem.message)
            console.warn(f"Not in the history: {problem.message} {problem.hint}")

    return into_history


def _show(console: Console, choice: Choice, folder: Path) -> None:
    from edgegen.cli.choose_view import show_choice

    show_choice(console, choice, folder)


def _end(
    console: Console, choice: Choice, folder: Path, gone: EdgegenError | None, *, as_json: bool
) -> int:
    """Show a choice; return the exit code.

    Raises BudgetNotMetError where nothing passes, and `gone`, but where JSON says what was wrong.
    """
    if as_json:
        console.json(choice)
    else:
        _show(console, choice, folder)
    if gone is not None:
        if not as_json:
            raise gone
        console.warn(f"{gone.message} {gone.hint}".strip())
        return gone.exit_code
    if choice.interrupted is not None:
        return INTERRUPTED_EXIT_CODE
    if not choice.winners:
        if as_json:
            return BudgetNotMetError.exit_code
        raise BudgetNotMetError(
            "No candidate meets every limit.",
            hint=f"The table says which limit each of them breaks. The page: {folder}/report.html",
        )
    return 0
