"""The device's state, from what the runner and the agent report."""

from __future__ import annotations

from edgegen import __version__
from edgegen.core.measurement import Environment
from edgegen.core.profile import DeviceProfile
from edgegen.devices.facts import DeviceFacts
from edgegen.runner.protocol import Hello


def environment_of(
    hello: Hello, facts: DeviceFacts, address: str, profile: DeviceProfile | None, started_at: str
) -> Environment:
    """Join what the runner says of the machine and what the agent says of its state."""
    platform, runtime = hello.platform, hello.runtime
    return Environment(
        device=address,
        machine=platform.machine,
        model=facts.model,
        profile=None if profile is None else profile.name,
        operating_system=facts.operating_system,
        processor=platform.cpu,
        cores=platform.cores,
        cpu_quota=facts.cpu_quota,
        memory_bytes=platform.memory_bytes,
        memory_limit_bytes=facts.memory_limit_bytes,
        governor=facts.governor,
        virtual_machine=facts.virtual_machine,
        hypervisor=facts.hypervisor,
        emulated=facts.emulated,
        load_average=facts.load_average,
        limits=facts.limits,
        silent=facts.silent,
        versions={
            "edgegen": __version__,
            "runner": hello.runner_version,
            "python": hello.python,
            "numpy": hello.numpy,
            runtime.name: runtime.version,
        },
        started_at=started_at,
    )


def launch_there_s(hello: Hello) -> float:
    """Return what starting the process took on the device's own clock, the network left out."""
    return max(0.0, hello.t - (hello.started if hello.process is None else hello.process))
