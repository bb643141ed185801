"""The script `python` at the top of a bundle, which starts the bundle's Python on the device."""

from __future__ import annotations

from pathlib import PurePosixPath

from edgegen.runner.bundle.facts import BundleFacts, Platform

_ENVIRONMENT = {
    "PYTHONHOME": "$D",
    "PYTHONPATH": "$D/site-packages",
    "PYTHONUTF8": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.29 on would write an id and a database
}

_TEMPLATE = """\
#!{shell}
# Starts the Python of this folder. Nothing outside of the folder is used: the loader and the C
# library are its own.
case $0 in
*/*) D=${{0%/*}} ;;
*) D=. ;;
esac
D=$(CDPATH= cd -- "$D" && pwd -P) || exit 127
unset LD_PRELOAD LD_LIBRARY_PATH # they name libraries of the system's own C library
export {exports}
# --argv0 lets sys.executable be this script, so that Python can start itself.
exec "$D/lib/{loader}" --argv0 "$D/python" --library-path "$D/lib" "$D/bin/{program}" -s "$@"
"""


def launcher(facts: BundleFacts, platform: Platform) -> str:
    """Return the text of the script for a platform's shell; any POSIX shell runs it."""
    environment = {**_ENVIRONMENT, **platform.environment}
    exports = [f'{name}="{value}"' for name, value in environment.items()]
    return _TEMPLATE.format(
        shell=platform.shell,
        exports=" \\\n    ".join(exports),
        loader=facts.loader,
        program=PurePosixPath(facts.program).name,
    )
