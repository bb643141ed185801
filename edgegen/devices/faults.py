"""Why a package on a device does not work, and what mends it."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Mapping

from edgegen_runner.runtimes import DEFAULT, called

from edgegen.core.errors import MissingDependencyError
from edgegen.core.process import exit_signal
from edgegen.devices.facts import DeviceFacts, Fault

_ANOTHER_PYTHON = "it was built for another Python than {python}"
_SETUP = "{setup}"
_NEWER = "Use a newer system there, or wheels that were built for this one: {wheels}"

_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"_ARRAY_API not found|compiled using NumPy 1\.x|module compiled against A[BP]I version|"
        r"numpy\.dtype size changed|numpy\.core\.multiarray failed to import",
        "it was built for another numpy",
        _SETUP,
    ),
    (
        r"version [`'\"]?((?:GLIBCXX|CXXABI)_[0-9.]+)['\"]? not found",
        "it needs a newer C++ library than the system's libstdc++: {found} is not in it",
        _NEWER,
    ),
    (
        r"version [`'\"]?(GLIBC_[0-9.]+)['\"]? not found",
        "it needs a newer C library than the system's: {found} is not in it",
        _NEWER,
    ),
    (
        r"(libstdc\+\+\.so[.0-9]*): cannot open shared object",
        "the C++ library {found} is not installed there",
        "Install it there: sudo apt-get install libstdc++6. Then repeat this.",
    ),
    (
        r"(\S+): cannot allocate memory in static TLS block",
        "{found} is loaded too late for its thread-local storage",
        "Let it be loaded first: export LD_PRELOAD={found} in ~/.bashrc there. Or: {setup}",
    ),
    (
        r"([\w.+-]+\.so[.0-9]*): cannot open shared object",
        "the library {found} is not installed there",
        "Install the package there that has it (apt-file search {found}), and repeat this.",
    ),
    (
        r"failed to map segment from shared object",
        "its folder is mounted noexec: no library in it may be used",
        "Choose a folder elsewhere: {command} --root DIR",
    ),
    (
        r"wrong ELF class|invalid ELF header|cannot open shared object file: Exec format",
        "it was built for another processor",
        _SETUP,
    ),
    (
        r"baseline optimizations|(?:CPU|machine) (?:does not|doesn't) support",
        "the processor lacks an instruction that it needs",
        _NEWER,
    ),
    (
        r"No module named '(numpy\.\S*_multiarray_umath|onnxruntime\.capi\.\w+|\S+\._pyopenvino)'",
        _ANOTHER_PYTHON,
        _SETUP,
    ),
    (
        r"No module named '?([\w.]+)",
        "it needs the module {found}, which is not there",
        _SETUP,
    ),
)
"""What Python, the dynamic linker and numpy write, what it means, and what to do."""

_SIGNALS = {
    signal.SIGILL: (
        "the processor lacks an instruction that it uses",
        "On a Jetson Nano, OPENBLAS_CORETYPE=ARMV8 in /etc/environment helps numpy 1.19.5. {setup}",
    ),
    signal.SIGSEGV: ("it crashes: its parts do not fit each other, or the system", _SETUP),
    signal.SIGKILL: ("the system ended it, probably because memory ran out", "Free memory there."),
}


def explain_fault(
    address: str,
    facts: DeviceFacts,
    fault: Fault,
    *,
    packages: Mapping[str, str] | None = None,
    setup: str | None = None,
) -> MissingDependencyError:
    """Return the error for a package that was tried on a device and does not work.

    `packages` are those that were tried, by default those that the device uses. `setup` is what to
    do where other packages help; by default, to let edgegen install its own.
    """
    runtime = facts.runtime
    if packages is None:
        packages = {} if runtime is None else runtime.packages
    name = " ".join(filter(None, (fault.package, packages.get(fault.package))))
    cause, remedy = _cause(fault)
    numpy = packages.get("numpy")
    beside = f" with its numpy {numpy}" if numpy and fault.package != "numpy" else ""
    command = f"edgegen devices setup {shlex.quote(address)}"
    setup = setup or (
        f"{command} --runtime {_pinned(fault.package)} installs it again."
        if runtime is not None and runtime.own
        else f"{command} gives it an environment of its own."
    )
    found = {
        "command": command,
        "setup": setup,
        "wheels": f"{command} --wheels FOLDER",
        "python": facts.python if runtime is None else runtime.python,
    }
    preload = "" if facts.preload is None else f" LD_PRELOAD is set there ({facts.preload})."
    return MissingDependencyError(
        f"{address}: its {name} does not work{beside}: {cause.format_map(found)}.{preload}",
        hint=remedy.format_map(found),
    )


def _cause(fault: Fault) -> tuple[str, str]:
    """Return why a package does not work and what to do, with places for what is known."""
    for pattern, cause, remedy in _CAUSES:
        if match := re.search(pattern, fault.said):
            found = _literal(match[1] if match.groups() else "")
            return cause.replace("{found}", found), remedy.replace("{found}", found)
    number = exit_signal(fault.returncode)
    if number in _SIGNALS:
        cause, remedy = _SIGNALS[number]
        return f"{cause} ({number.name})", remedy
    if number is not None:
        return f"it was ended by {number.name}", _SETUP
    return _literal(_telling_line(fault.said).rstrip(".") or "it did not say why"), _SETUP


def _telling_line(said: str) -> str:
    """Return the line that names the exception; a long message ends with advice."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines or [""])[-1][:200]


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _pinned(package: str) -> str:
    """Return the runtime that brings a package; numpy comes with each of them."""
    runtime = DEFAULT if package == "numpy" else called(package)
    return package if runtime is None else runtime.package
