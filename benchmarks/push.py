"""Times the ways to put a file on a device: edgegen's agent, rsync, scp and adb, side by side.

    python benchmarks/push.py --device ssh://pi@raspberrypi.local [--megabytes 256] [--rounds 5]

The file is random, so that nothing can be compressed. The ways take turns, so that what drifts
touches all of them. edgegen's figure holds what the others leave out: the hash of what arrived, and
a flush to the disk. rsync is timed once more with a `sha256sum` on the device behind it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import shlex
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import read_machine
from edgegen.core.process import run
from edgegen.devices.ssh import COMMAND_VARIABLE, SshTransport
from edgegen.runner.attach import attach

_TIMEOUT_S = 1800.0


def main() -> None:
    arguments = _arguments()
    print(f"{read_machine().describe()}\n")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"edgegen-{secrets.token_hex(8)}"
        size = arguments.megabytes * 1_000_000
        with source.open("wb") as file:
            for _ in range(arguments.megabytes):
                file.write(os.urandom(1_000_000))
        ways = _ways(arguments.device, source)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                seconds[name].append(way())
    baseline = statistics.median(seconds["edgegen"])
    print("| way | MB/s, median | slowest | time, edgegen = 1 |\n|---|---|---|---|")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"| {name} | {size / median / 1e6:.0f} | {size / max(values) / 1e6:.0f} "
            f"| {median / baseline:.2f} |"
        )


def _ways(address: str, source: Path) -> dict[str, Callable[[], float]]:
    ways = {"edgegen": lambda: _by_agent(address, source)}
    if address.startswith("adb://"):
        adb = ["adb", "-s", address.removeprefix("adb://")]
        there = f"/data/local/tmp/{source.name}"
        ways["adb push"] = lambda: _timed(
            [*adb, "push", str(source), there], [*adb, "shell", "rm", there]
        )
        return ways
    transport = SshTransport(address)
    command, target = transport.command()[:-2], transport.command()[-1]
    ssh = [part for part in command if not part.startswith(("ControlMaster=", "ControlPath="))]
    ssh = _without_lonely_options(ssh)
    there = f"/tmp/{source.name}"
    shell = [*ssh, "--", target]
    ways["rsync --inplace -W"] = lambda: _timed(
        ["rsync", "--inplace", "-W", "-e", shlex.join(ssh), str(source), f"{target}:{there}"],
        [*shell, f"rm {there}"],
    )
    ways["rsync, then sha256sum"] = lambda: _timed(
        ["rsync", "--inplace", "-W", "-e", shlex.join(ssh), str(source), f"{target}:{there}"],
        [*shell, f"rm {there}"],
        then=[*shell, f"sha256sum {there}"],
    )
    ways["cat over ssh"] = lambda: _timed(
        ["sh", "-c", f"{shlex.join(shell)} 'cat > {there}' < {shlex.quote(str(source))}"],
        [*shell, f"rm {there}"],
    )
    return ways


def _without_lonely_options(words: list[str]) -> list[str]:
    """Remove each `-o` whose value was removed."""
    kept = []
    for word, following in zip(words, [*words[1:], "-o"], strict=True):
        if word == "-o" and (following == "-o" or "=" not in following):
            continue
        kept.append(word)
    return kept


def _by_agent(address: str, source: Path) -> float:
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    with attach(address) as device:
        device.agent.lock("benchmark")
        started = time.perf_counter()
        device.agent.put(source, sha256, source.stat().st_size)
        seconds = time.perf_counter() - started
        device.agent.request("drop", sha256=sha256)
    return seconds


def _timed(command: list[str], clean: list[str], *, then: list[str] | None = None) -> float:
    started = time.perf_counter()
    run(command, timeout_s=_TIMEOUT_S)
    if then is not None:
        run(then, timeout_s=_TIMEOUT_S)
    seconds = time.perf_counter() - started
    run(clean, timeout_s=60)
    return seconds


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", required=True)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.epilog = f"{COMMAND_VARIABLE} holds the ssh command, if another one is wanted."
    return parser.parse_args()


if __name__ == "__main__":
    main()
