"""What the history has of a device that isn't here, as figures of a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgegen.choose.measured import elsewhere, figures_of
from edgegen.core.choice import Way
from edgegen.core.figures import Figure
from edgegen.history.record import Query
from edgegen.history.store import History, is_on


def measured_elsewhere(
    ways: Sequence[Way], weights: Mapping[str, str], profile: str
) -> Mapping[Way, Mapping[str, Figure]]:
    """Return figures that were measured on a device of a profile, for the same packages and steps.

    `weights` are the hashes of each model's. A package is the same where its weights, target and
    recipe are. Empty where the history is switched off, or has nothing. Raises IntegrityError where
    its file is damaged.
    """
    if not is_on():
        return {}
    found: dict[Way, Mapping[str, Figure]] = {}
    with History.open() as history:
        for way in ways:
            query = Query(
                weights_sha256=weights[way.model],
                target=way.target,
                recipe=way.recipe,
                device_profile=profile,
                steps=way.steps,
                width=way.width,
                height=way.height,
                complete=True,
            )
            records = history.find(query)
            if records:
                found[way] = elsewhere(figures_of(history.measurement(records[0])))
    return found
