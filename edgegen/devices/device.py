"""A device that is connected: its facts, its lock, the programs that are started on it."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from edgegen.core.environment import RUNNER_ENVIRONMENT
from edgegen.core.errors import (
    ConnectionLostError,
    DeviceError,
    EdgegenError,
    MissingDependencyError,
)
from edgegen.core.process import Child
from edgegen.devices.agent import DEVICE_SILENCE_S, Agent
from edgegen.devices.facts import DeviceFacts, SystemState
from edgegen.devices.roots import unfit
from edgegen.devices.transports import LOCAL, Transport

HOST_SILENCE = "EDGEGEN_HOST_SILENCE_S"
"""Seconds after which a runner takes a silent host for gone; the heartbeat is more frequent."""


_DESCRIBE_S = 180.0
_CLEAN_UP_S = 10.0
_RETURN_EVERY_S = 5.0


class Device:
    """A device behind a transport; a context manager that leaves no process there.

    `runner` is the packed runner, which the agent is part of.
    """

    def __init__(self, transport: Transport, runner: bytes) -> None:
        self.transport = transport
        self.agent = Agent(transport, runner)
        self._runner_bytes = runner
        self._facts: DeviceFacts | None = None
        self.return_s = 90.0
        """How long a lost device is waited for, to learn whether it was restarted."""
        self.say: Callable[[str], None] = lambda text: None
        """Is told what takes long."""

    @property
    def address(self) -> str:
        """Return the address by which the user named the device."""
        return self.transport.address

    @property
    def is_local(self) -> bool:
        """Return whether this is the machine that edgegen runs on."""
        return self.address == LOCAL

    def __enter__(self) -> Self:
        try:
            self.agent.__enter__()
        except BaseException:
            self.transport.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.agent.close()
        self.transport.close()

    @property
    def facts(self) -> DeviceFacts:
        """Return what the device was when it was asked first."""
        return self._facts or self.look_again()

    def look_again(self, *, tried: bool = False) -> DeviceFacts:
        """Ask the device again what it is and has; with `tried` it uses its runtime once."""
        facts = self.agent.ask(DeviceFacts, "describe", tried=tried, answer_s=_DESCRIBE_S)
        self._facts = facts
        return facts

    def state(self) -> SystemState:
        """Return the state of the device's system now."""
        return self.agent.ask(SystemState, "state")

    def require_place(self, *, executes: bool = False) -> None:
        """Raise DeviceError where the device's folder cannot hold what is to go there.

        That is links, and, with `executes`, programs and libraries.
        """
        facts = self.facts
        if executes and not facts.root_executes:
            raise unfit(self.address, facts.root, "noexec")
        if not facts.root_links:
            raise unfit(self.address, facts.root, "nolinks")

    def require_runtime(self) -> Sequence[str]:
        """Return the command that starts a Python with numpy and a runtime there.

        Raises MissingDependencyError where the device has none, with what makes one. This machine
        has edgegen's own Python; what that lacks the runner says.
        """
        runtime = self.facts.runtime
        if runtime is None and self.is_local:
            return (sys.executable,)
        if runtime is None or not runtime.command:
            raise MissingDependencyError(
                f"{self.address} has no Python with numpy and a runtime.",
                hint=f"edgegen devices setup {shlex.quote(self.address)}",
            )
        return runtime.command

    def start_runner(self, *, log: Path | None = None) -> Child:
        """Start the runner on the device: a job on its standard input, events on its output."""
        arguments = [*self.require_runtime(), self.agent.runner]
        if self.is_local:
            return self.transport.start(arguments, log=log, env=RUNNER_ENVIRONMENT)
        silence = {HOST_SILENCE: str(DEVICE_SILENCE_S)}
        child = self.transport.start(arguments, log=log, env={**RUNNER_ENVIRONMENT, **silence})
        self.agent.beat(child)
        return child

    def start_watched(self, arguments: Sequence[str], *, log: Path | None = None) -> Child:
        """Start another program on the device, which ends when the host is gone."""
        watched = [*self.require_runtime(), self.agent.runner, "--watched", *arguments]
        child = self.transport.start(
            watched, log=log, env={HOST_SILENCE: str(DEVICE_SILENCE_S), "PYTHONUTF8": "1"}
        )
        self.agent.beat(child)
        return child

    def explain_end(self, child: Child, before: SystemState | None) -> DeviceError | None:
        """Say what broke the connection that a child ran through; None where the child ended.

        Where the device can be reached again, its boot id says whether it was restarted.
        """
        if child.returncode is None:
            return None
        fault = self.transport.fault(child.returncode, child.log_tail())
        if fault is None or not isinstance(fault, ConnectionLostError) or before is None:
            return fault
        now = self._state_after_return()
        if now is not None and None not in (now.boot_id, before.boot_id):
            if now.boot_id != before.boot_id:
                return ConnectionLostError(
                    f"{self.address} was restarted in the middle: its boot id changed.",
                    hint="A power supply that is too weak does that, and so does a watchdog. "
                    "Nothing is lost: repeat the command.",
                )
            return ConnectionLostError(
                f"{fault.message} It is up, and was not restarted.",
                hint="The network or the cable broke. Nothing is lost: repeat the command.",
            )
        return fault

    def kills_for_memory(self, before: SystemState | None) -> int | None:
        """Return how many processes the device's kernel has ended for memory since `before`."""
        try:
            now = self.state()
        except DeviceError:
            return None
        if before is None or before.oom_kills is None or now.oom_kills is None:
            return None
        return now.oom_kills - before.oom_kills

    def _state_after_return(self) -> SystemState | None:
        """Connect anew until the device answers, or is away for too long."""
        until = time.monotonic() + self.return_s
        self.say(
            f"The connection to {self.address} was lost. Waiting up to {self.return_s:.0f} s for "
            "it, to learn whether it was restarted."
        )
        while True:
            state = self._state_of_another_connection()
            if state is not None or time.monotonic() >= until:
                return state
            time.sleep(_RETURN_EVERY_S)

    def _state_of_another_connection(self) -> SystemState | None:
        self.agent.close()
        self.transport.close()
        try:
            with Agent(self.transport, self._runner_bytes) as agent:
                return agent.ask(SystemState, "state")
        except (DeviceError, MissingDependencyError):
            return None

    def remove_run(self, name: str) -> None:
        """Remove the files of a run, as far as the device can still be reached."""
        if self.agent.connected:
            with contextlib.suppress(EdgegenError):
                self.agent.request("remove_run", name=name, answer_s=_CLEAN_UP_S)
