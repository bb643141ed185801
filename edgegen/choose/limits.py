"""The limits of a choice: what was asked for, and the budget of the device's profile."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.core.errors import ConfigError
from edgegen.core.figures import FIGURES, Limit, check_limits
from edgegen.core.profile import DeviceProfile
from edgegen.evaluate.findable import require_findable

BUDGET: Mapping[str, str] = {
    "latency": "latency_s",
    "memory": "peak_memory_bytes",
    "size": "package_bytes",
    "energy": "energy_j",
}
"""The figures that a profile's budget limits, and its names for them."""


def complete(given: tuple[Limit, ...], profile: DeviceProfile | None) -> tuple[Limit, ...]:
    """Return the limits of a command line, completed by the profile's budget.

    Raises ConfigError for limits that nothing can meet, and where there is none at all.
    """
    limits = given + _of_budget(profile, {limit.figure for limit in given})
    check_limits(limits)
    if not limits:
        names = ", ".join(kind.option for kind in FIGURES.values())
        raise ConfigError(
            "There is nothing to choose by: no limit is given"
            + (
                "."
                if profile is None
                else f", and the profile '{profile.name}' has no [budget] with one."
            ),
            hint=f"Give at least one of {names}.",
        )
    return limits


def _of_budget(profile: DeviceProfile | None, besides: set[str]) -> tuple[Limit, ...]:
    if profile is None:
        return ()
    budget = {
        figure: getattr(profile.budget, name)
        for figure, name in BUDGET.items()
        if figure not in besides
    }
    return tuple(
        Limit(figure=figure, value=float(value), origin=f"the budget of {profile.name}")
        for figure, value in budget.items()
        if value is not None
    )


def require_energy(
    limits: tuple[Limit, ...], *, profile: DeviceProfile | None, has_energy: bool
) -> None:
    """Raise ConfigError for a limit on energy where nothing measures it, as far as is known."""
    if has_energy or "energy" not in _asked_for(limits):
        return
    who = "this device" if profile is None else f"the profile '{profile.name}'"
    raise ConfigError(
        f"--max-energy needs a sensor of power or energy, and {who} has none.",
        hint="Leave --max-energy out, or add the sensor to the profile's `sensors`.",
    )


def require_quality(limits: tuple[Limit, ...], names: Mapping[str, frozenset[str]]) -> None:
    """Refuse limits that the user set on figures of quality that nothing here finds out.

    `names` are those that can be found of each model. Raises ConfigError, and
    MissingDependencyError for a metric whose library isn't installed.
    """
    require_findable([limit for limit in limits if limit.origin == "asked for"], names)


def _asked_for(limits: tuple[Limit, ...]) -> set[str]:
    return {limit.figure for limit in limits if limit.origin == "asked for"}
