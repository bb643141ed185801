"""A measurement that ended before its plan did: what was measured by then is not lost."""

from __future__ import annotations

from edgegen.core.errors import EdgegenError
from edgegen.core.measurement import Measurement


class CutShortError(EdgegenError):
    """A measurement ended before its plan did; what was measured by then is kept.

    `measurement` holds it, and the exception's cause says what ended it: an interrupt, a signal,
    or an error of the runner or the device.
    """

    def __init__(self, measurement: Measurement) -> None:
        super().__init__(f"The measurement was cut short: {measurement.interrupted}.")
        self.measurement = measurement


def reason_of(end: BaseException) -> str:
    """Return what ended a measurement, as it stands in the result."""
    if isinstance(end, KeyboardInterrupt):
        return "Ctrl-C"
    return end.message if isinstance(end, EdgegenError) else "a signal"
