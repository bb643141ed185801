"""Refuses a recipe that a profile's version of its runtime cannot execute."""

from __future__ import annotations

from edgegen_runner import runtime_versions
from edgegen_runner.runtimes import called

from edgegen.core.errors import ConfigError
from edgegen.core.package import RuntimeNeed
from edgegen.core.profile import DeviceProfile, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import RuntimeSince, TargetSpec


def refuse_older(
    recipe: Recipe, target: TargetSpec, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> None:
    """Raise ConfigError where no version of the runtime executes a recipe, or only later ones.

    A runtime of which nobody states a version is refused for the first reason only: `edgegen
    devices setup` brings one that executes what any does.
    """
    known = called(runtime.package)
    if profile is None or known is None:
        return
    asked = [since for since in target.runtime_since if since.concerns(recipe)]
    own = [since for since in asked if since.runtime == known.name]
    for since in own:
        if since.version is None:
            raise ConfigError(
                f"The recipe '{recipe.name}' {_asks_for(since)}, which no version of {known.name} "
                f"executes{_others(asked, known.name, target)} ({since.why}).",
                hint=f"Choose another recipe, or another runtime in the profile '{profile.name}'.",
            )
    if runtime.version is None or not own:
        return
    have = version_numbers(runtime.version, f"the profile '{profile.name}'")
    latest = max(own, key=lambda since: version_numbers(since.version or "", target.name))
    if version_numbers(latest.version or "", target.name) > have:
        raise ConfigError(
            f"The recipe '{recipe.name}' {_asks_for(latest)}, which {known.name} executes from "
            f"{latest.version} on ({latest.why}), and the profile '{profile.name}' has "
            f"{runtime.version}.",
            hint=f"{_instead(latest)} {runtime.package} {latest.version} on the "
            "device and state its version in the profile.",
        )


def needs_of(recipe: Recipe, target: TargetSpec) -> tuple[RuntimeNeed, ...]:
    """Return the first version of each runtime that executes all that a recipe asks for."""
    needs: dict[str, RuntimeNeed] = {}
    for since in target.runtime_since:
        known = needs.get(since.runtime)
        if since.concerns(recipe) and (known is None or _is_later(since.version, known.version)):
            needs[since.runtime] = RuntimeNeed(
                runtime=since.runtime, version=since.version, why=since.why
            )
    return tuple(needs.values())


def _is_later(version: str | None, than: str | None) -> bool:
    if version is None or than is None:
        return than is not None
    return version_numbers(version, "a target") > version_numbers(than, "a target")


def version_numbers(version: str, source: str) -> tuple[int, ...]:
    """Return a version's numbers, as the runner does.

    Raises ConfigError that names the `source` for a version without numbers.

    >>> version_numbers("1.20.0rc1", "a profile")
    (1, 20)
    """
    numbers = runtime_versions.version_numbers(version)
    if not numbers:
        raise ConfigError(
            f"{source}: '{version}' is not a version.", hint="Write it as numbers: 1.20.1."
        )
    return numbers


def _asks_for(since: RuntimeSince) -> str:
    parts = [f"stores weights as {since.storage}"] if since.storage is not None else []
    if since.activations is not None:
        parts.append(f'asks for activations = "{since.activations}"')
    if since.compute is not None:
        parts.append(f"computes in {since.compute}")
    return " and ".join(parts) or "needs what every package of this target does"


def _others(asked: list[RuntimeSince], runtime: str, target: TargetSpec) -> str:
    """Return which version of another runtime executes it, as the end of a clause."""
    versions = [it for it in asked if it.runtime != runtime and it.version is not None]
    if not versions:
        return ""
    latest = max(versions, key=lambda it: version_numbers(it.version or "", target.name))
    return f": {latest.runtime} does from {latest.version} on"


def _instead(since: RuntimeSince) -> str:
    is_of_all = since.storage is None and since.activations is None and since.compute is None
    return "Install" if is_of_all else "Choose another recipe, or install"
