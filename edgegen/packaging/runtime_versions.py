"""Refuses a recipe that a profile's version of its runtime cannot execute."""

from __future__ import annotations

from edgegen_runner.runtimes import called

from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import RuntimeSince, TargetSpec


def refuse_older(
    recipe: Recipe, target: TargetSpec, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> None:
    """Raise ConfigError where the runtime's version is older than one that a recipe needs.

    A runtime of which nobody states a version is not refused: `edgegen devices setup` brings one
    that executes every recipe.
    """
    known = called(runtime.package)
    if profile is None or known is None or runtime.version is None:
        return
    have = version_numbers(runtime.version, f"the profile '{profile.name}'")
    late = [
        since
        for since in target.runtime_since
        if since.runtime == known.name
        and since.concerns(recipe)
        and version_numbers(since.version, target.name) > have
    ]
    if late:
        latest = max(late, key=lambda since: version_numbers(since.version, target.name))
        raise ConfigError(
            f"The recipe '{recipe.name}' {_asks_for(latest)}, which {known.name} executes from "
            f"{latest.version} on ({latest.why}), and the profile '{profile.name}' has "
            f"{runtime.version}.",
            hint=f"Choose another recipe, or install {runtime.package} {latest.version} on the "
            "device and state its version in the profile.",
        )


def version_numbers(version: str, source: str) -> tuple[int, ...]:
    """Return a version's numbers, without zeros at their end; what follows them is left out.

    Raises ConfigError that names the `source` for a version without numbers.

    >>> version_numbers("1.20.0rc1", "a profile")
    (1, 20)
    """
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    if not numbers:
        raise ConfigError(
            f"{source}: '{version}' is not a version.", hint="Write it as numbers: 1.20.1."
        )
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _asks_for(since: RuntimeSince) -> str:
    parts = [f"stores weights as {since.storage}"] if since.storage is not None else []
    if since.activations is not None:
        parts.append(f'asks for activations = "{since.activations}"')
    return " and ".join(parts) or "asks for what is new"
