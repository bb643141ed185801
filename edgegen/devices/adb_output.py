"""What adb says: the devices that it lists, and why it failed.

adb writes some failures to its standard output, some to its standard error, and may exit with 0 in
either case; so its words are read. They are those of AOSP's client (`packages/modules/adb`) from
adb 28 to 35.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from edgegen.core.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceFullError,
    DeviceUnauthorizedError,
    DeviceUnreachableError,
)

_HEADER = "List of devices attached"
_SERVER_LINE = re.compile(r"\* ")
_LINE = re.compile(
    r"(?P<serial>\S.*?)\s+"  # a serial may hold blanks: the state is looked for from the right
    r"(?P<state>no permissions.*?|[a-z]+)"
    r"(?P<properties>(?:\s+[a-z_]+:\S+)*)\s*"
)
_LONGEST_LINE = 1000
NO_SERIAL = "(no serial number)"
"""What adb lists for a device that has none."""
_PROPERTY = re.compile(r"([a-z_]+):(\S+)")
_NUMBER = re.compile(r"[0-9]{1,15}")

ALLOW = "Unlock the device, accept 'Allow USB debugging', and retry."
"""What to do with an unauthorized device."""

_UDEV = (
    "Let your user open it: install your distribution's udev rules for Android "
    "(Debian: android-sdk-platform-tools-common), plug it in again, and type `adb kill-server`."
)
_LIST = "`adb devices -l` lists those that are attached. Is 'USB debugging' on?"
_AGAIN = "Plug it in again, or type `adb reconnect offline`; over a network, `adb disconnect {0}`."
_SERVER = "Type `adb kill-server`, and retry; another program may hold adb's port."


@dataclass(frozen=True, slots=True, kw_only=True)
class AdbDevice:
    """One device that adb lists.

    `state` is adb's word: device, offline, unauthorized, authorizing, connecting, recovery,
    rescue, sideload, bootloader, host or no permissions; `detail` is the rest of what it says of
    it. `model` has underscores for blanks. adb tells the other fields only where it knows them.
    """

    serial: str
    state: str
    detail: str = ""
    model: str | None = None
    product: str | None = None
    codename: str | None = None
    usb: str | None = None
    transport_id: int | None = None

    @property
    def is_ready(self) -> bool:
        """Say whether commands can run on it."""
        return self.state == "device"


def parse_devices(text: str) -> tuple[tuple[AdbDevice, ...], tuple[str, ...]]:
    """Read the output of `adb devices -l`, or of `adb devices`: devices, and unknown lines.

    Raises DeviceError where it is no such list: adb's server did not start.
    """
    lines = iter(text.splitlines())
    if _HEADER not in lines:  # takes what adb says of its server, and the header
        raise explain(text, "") or DeviceError("adb did not list its devices.", hint=_SERVER)
    devices, unknown = [], []
    for line in lines:
        if not line.strip() or _SERVER_LINE.match(line):
            continue
        found = _LINE.fullmatch(line) if len(line) <= _LONGEST_LINE else None
        if found is not None:
            devices.append(_device(found))
        else:
            unknown.append(line.strip()[:_LONGEST_LINE])
    return tuple(devices), tuple(unknown)


def _device(found: re.Match[str]) -> AdbDevice:
    state, _, detail = found["state"].partition(" (")
    properties = dict(_PROPERTY.findall(found["properties"]))
    number = properties.get("transport_id", "")
    return AdbDevice(
        serial=found["serial"],
        state=state,
        detail=f"({detail}" if detail else "",
        model=properties.get("model"),
        product=properties.get("product"),
        codename=properties.get("device"),
        usb=properties.get("usb"),
        transport_id=int(number) if _NUMBER.fullmatch(number) else None,
    )


def explain_state(device: AdbDevice) -> DeviceError | None:
    """Return why a listed device cannot be used; None where it can."""
    words = {
        "unauthorized": "device unauthorized.",
        "authorizing": "device still authorizing",
        "no permissions": f"insufficient permissions for device {device.detail}",
        "offline": "device offline",
        "connecting": "device offline",
    }
    if device.is_ready:
        return None
    if device.state in words:
        return explain(f"error: {words[device.state]}", device.serial)
    return DeviceError(
        f"{device.serial} is in the state '{device.state}', where no commands run.",
        hint=f"Start Android on it: adb -s {shlex.quote(device.serial)} reboot",
    )


def explain(text: str, serial: str) -> DeviceError | None:
    """Return what went wrong, from what adb wrote; None where it tells of no failure.

    Give it adb's own words: both streams of `connect`, `push` and `pull`; of `shell` the standard
    error alone, since the other is the command's. An empty `serial` is the only device there is.
    A connection that is lost in the middle of a `shell` or a `pull` leaves no words at all.
    """
    name = serial or "The Android device"
    for line in text.splitlines():
        for rule in _RULES:
            found = rule.pattern.search(line)
            if found is not None:
                return rule.error(
                    rule.message(name, found),
                    hint=rule.hint.format(shlex.quote(serial or "SERIAL")),
                )
    return None


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line that adb may write, and the error that it means. The first rule that fits counts."""

    pattern: re.Pattern[str]
    error: type[DeviceError]
    message: Callable[[str, re.Match[str]], str]
    hint: str


def _rule(pattern: str, error: type[DeviceError], message: str, hint: str) -> _Rule:
    """Make a rule; in `message`, {0} is the device and {1} what the pattern's group caught."""
    return _Rule(
        re.compile(pattern),
        error,
        lambda name, found: message.format(name, *found.groups(default="")).rstrip(" :"),
        hint,
    )


# A command's own standard error comes among adb's words: hence the beginning of the line.
_START = r"^(?:adb(?:\.exe)?: |error: |\* )(?:.*: )?"

_RULES = (
    _rule(
        r"No space left on device",
        DeviceFullError,
        "{0} is full.",
        "Free some room on the device, and retry.",
    ),
    _rule(
        _START + r"device unauthorized",
        DeviceUnauthorizedError,
        "{0} has not allowed this machine to debug it.",
        ALLOW,
    ),
    _rule(
        r"^failed to authenticate to ",
        DeviceUnauthorizedError,
        "{0} has not allowed this machine to debug it.",
        ALLOW,
    ),
    _rule(
        _START + r"device still (?:authorizing|connecting)",
        DeviceUnauthorizedError,
        "{0} is still waiting for somebody to allow this machine to debug it.",
        ALLOW,
    ),
    _rule(
        _START + r"insufficient permissions for device:? ?(.*)",
        DeviceUnreachableError,
        "This machine's user may not open {0}: {1}",
        _UDEV,
    ),
    _rule(
        _START + r"device offline",
        DeviceUnreachableError,
        "{0} is attached, but does not answer (adb calls it offline).",
        _AGAIN,
    ),
    _rule(
        _START + r"(?:device '.*' not found|device not found|no such device '.*')",
        DeviceUnreachableError,
        "adb knows no device {0}.",
        _LIST,
    ),
    _rule(
        _START + r"no devices(?:/emulators)? found",
        DeviceUnreachableError,
        "No Android device is attached.",
        _LIST,
    ),
    _rule(
        _START + r"more than one device",
        DeviceError,
        "More than one Android device is attached.",
        "Name one by its serial: adb://SERIAL. `adb devices -l` lists them.",
    ),
    _rule(
        r"^(?:adb: |error: )?.*cannot connect to daemon|^\* failed to start daemon"
        r"|^\* cannot start server|^\* daemon still not running",
        DeviceError,
        "adb's server cannot be reached.",
        _SERVER,
    ),
    _rule(
        r"^(?:failed to connect to|unable to connect to|cannot connect to|failed to resolve host:)"
        r" '?[^' ]+?'?(?:: (.+))?$",
        DeviceUnreachableError,
        "adb cannot connect to {0}. {1}",
        "Is it on, in the same network, and its 'Wireless debugging' on?",
    ),
    _rule(
        _START + r"(?:closed$|couldn't read from device|protocol fault|connection reset"
        r"|device disconnected|(?:failed to|couldn't) read .*response)",
        ConnectionLostError,
        "The connection to {0} was lost.",
        "Look at the cable, and retry.",
    ),
    _rule(r"^adb(?:\.exe)?: (?:error: )?(.+)", DeviceError, "adb failed: {1}", _LIST),
)
