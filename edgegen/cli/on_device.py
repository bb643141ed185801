"""What the commands that work on a device share: its options, and how it is connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgegen.cli.completion import complete_device
from edgegen.cli.durations import DURATION

if TYPE_CHECKING:
    from edgegen.core.progress import Progress
    from edgegen.devices.device import Device

F = TypeVar("F", bound=Callable[..., Any])

LOCAL = "local"
DEVICE_HELP = "local, ssh://[user@]host[:port] or adb://SERIAL; see `edgegen devices`."
PATIENCE_S = 1800.0


def device_option(default: str | None = None) -> Callable[[F], F]:
    """Return the option `--device`; without a default it must be given."""
    return click.option(
        "--device",
        "-d",
        required=default is None,
        default=default,
        show_default=default is not None,
        metavar="DEVICE",
        shell_complete=complete_device,
        help=DEVICE_HELP,
    )


patience_option = click.option(
    "--patience",
    "patience_s",
    type=DURATION,
    default="30m",
    show_default=True,
    metavar="DURATION",
    help="Give up where the device comes no further for this long.",
)


@contextmanager
def attached(
    address: str, progress: Progress, say: Callable[[str], None] | None = None
) -> Iterator[Device]:
    """Connect to a device, with a word of it while that takes long; `say` hears what else does."""
    from edgegen.devices.known import remember
    from edgegen.runner.attach import attach

    if address == LOCAL:
        with attach(address) as device:
            yield device
        return
    device = attach(address)
    if say is not None:
        device.say = say
    with progress.step(f"connect to {address}"):
        device.__enter__()
    try:
        remember(address)
        yield device
    finally:
        device.__exit__(None, None, None)
