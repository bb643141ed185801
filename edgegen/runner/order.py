"""The order in which a runner's events can come: what the host counts and adds up relies on it."""

from __future__ import annotations

from edgegen.core.errors import RunnerError
from edgegen.runner.protocol import (
    ANOTHER_VERSION,
    Error,
    Event,
    Hello,
    ImageEnd,
    ImageStart,
    Part,
    Phase,
    Step,
    Warn,
)

MOST_EVENTS = 2_000_000
"""Ten hours of steps of 20 ms have fewer; more of them, kept, would fill the memory."""


class EventOrder:
    """Checks the events of one job, one after the other."""

    def __init__(self) -> None:
        self._count = 0
        self._said_hello = False
        self._images = 0
        self._parts = 0
        self._image: int | None = None

    def check(self, event: Event) -> None:
        """Take the next event.

        Raises RunnerError where it cannot come here.
        """
        self._count += 1
        wrong = self._wrong(event)
        if self._count > MOST_EVENTS:
            wrong = f"it has written over {MOST_EVENTS} events"
        if wrong:
            raise RunnerError(
                f"The runner does not keep to the protocol: {wrong}.", hint=ANOTHER_VERSION
            )
        match event:
            case Hello():
                self._said_hello = True
            case ImageStart():
                self._image, self._images = event.index, self._images + 1
            case ImageEnd():
                self._image = None
            case Part():
                self._images, self._parts = 0, self._parts + 1

    def _wrong(self, event: Event) -> str:
        match event:
            case Hello():
                return "it says hello twice" if self._said_hello else ""
            case Error() | Warn():
                return ""
            case _ if not self._said_hello:
                return f"its first event is a {type(event).__name__}"
            case ImageStart():
                if self._image is not None:
                    return f"image {event.index} begins before image {self._image} has ended"
                return "" if event.index == self._images else f"image {event.index} isn't the next"
            case Part():
                if self._image is not None:
                    return f"a part ends before image {self._image} has ended"
                return "" if event.index == self._parts else f"part {event.index} isn't the next"
            case Step() | Phase() | ImageEnd():
                now = "no image" if self._image is None else f"image {self._image}"
                return "" if event.image == self._image else f"it draws {now}, not {event.image}"
            case _:
                return ""
