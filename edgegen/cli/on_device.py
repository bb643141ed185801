"""What the commands that work on a device share: its options, and how it is connected."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgegen.cli.completion import complete_device
from edgegen.cli.durations import DURATION

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from edgegen.core.progress import Progress
    from edgegen.devices.device import Device

F = TypeVar("F", bound=Callable[..., Any])

LOCAL = "local"
DEVICE_HELP = "local, ssh://[user@]host[:port] or adb://SERIAL; see `edgegen devices`."


class _Device(click.ParamType[str]):
    """The address of a device; those that were used before are completed, or named in an error."""

    name = "device"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Return what is said after "Missing option"."""
        from edgegen.devices.known import known

        devices = ", ".join(map(shlex.quote, known()))
        return f"Used before: {devices}." if devices else "`edgegen devices` lists what is there."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete it; see `complete_device`."""
        return complete_device(ctx, param, incomplete)


DEVICE = _Device()


def device_option(default: str | None = None) -> Callable[[F], F]:
    """Return the option `--device`; without a default it must be given."""
    # click takes any `default=`, None too, for a value: a required option has no such argument.
    needed: dict[str, Any] = (
        {"required": True} if default is None else {"default": default, "show_default": True}
    )
    return click.option("--device", "-d", type=DEVICE, metavar="DEVICE", help=DEVICE_HELP, **needed)


patience_option = click.option(
    "--patience",
    "patience_s",
    type=DURATION,
    default="30m",
    show_default=True,
    metavar="DURATION",
    help="Give up where the device comes no further for this long.",
)


_ROOT = f"{__name__}.root"


def _keep_root(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta[_ROOT] = value


root_option = click.option(
    "--root",
    metavar="DIR",
    callback=_keep_root,
    expose_value=False,
    help="A folder on the device for what is put there, remembered for it; default: $EDGEGEN_ROOT, "
    "else ~/.edgegen, and /data/local/tmp/edgegen on Android.",
)
"""The option `--root`; `chosen_root` returns what it holds."""


def chosen_root() -> str | None:
    """Return the folder that `--root` chose for the command that runs; None where it didn't."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_ROOT)


@contextmanager
def attached(
    address: str, progress: Progress, say: Callable[[str], None] | None = None
) -> Iterator[Device]:
    """Connect to a device, with a word of it while that takes long; `say` hears what else does."""
    from edgegen.devices.known import remember
    from edgegen.devices.roots import root_for
    from edgegen.runner.attach import attach

    root = chosen_root()
    if address == LOCAL:
        with attach(address, root) as device:
            yield device
        return
    device = attach(address, root)
    if say is not None:
        device.say = say
    with progress.step(f"connect to {address}"):
        device.__enter__()
    try:
        remember(address, root_for(address, root))
        yield device
    finally:
        device.__exit__(None, None, None)
