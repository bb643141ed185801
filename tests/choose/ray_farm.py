"""A Ray cluster on this machine, on the loopback alone, that ends with its test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen_runner.process_tree import members

LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 for a mistake, and the address of a network interface instead."""
_STORE_BYTES = 80_000_000
_QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}


@dataclass(kw_only=True)
class Machine:
    """A node of the cluster: its own cache and state, as another machine has."""

    folder: Path
    node: Any

    @property
    def id(self) -> str:
        return str(self.node.node_id)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def raylet(self) -> int:
        (process,) = self.node.all_processes["raylet"]
        return int(process.process.pid)

    def processes(self) -> list[int]:
        """Return its raylet with all that it started, and all that these did."""
        return members(self.raylet)

    def kill(self) -> None:
        """End it as a power cut does: its raylet and its workers, by SIGKILL.

        What the workers started leads sessions of its own, and has to notice for itself.
        """
        tasks = Path(f"/proc/{self.raylet}/task").iterdir()
        workers = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        for pid in (self.raylet, *workers):
            os.kill(pid, signal.SIGKILL)


class Farm:
    """Machines that are added one after the other; the first is the cluster's head."""

    def __init__(self, root: Path) -> None:
        from ray.cluster_utils import Cluster

        self.machines: list[Machine] = []
        self._root = root
        self._cluster = Cluster(shutdown_at_exit=True)

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(
        self, resources: Mapping[str, float], *, environment: Mapping[str, str] | None = None
    ) -> Machine:
        """Start a machine; by default with a cache and a state of its own."""
        folder = self._root / f"machine-{len(self.machines)}"
        own = {
            "EDGEGEN_CACHE_DIR": str(folder / "cache"),
            "EDGEGEN_STATE_DIR": str(folder / "state"),
            "RAY_USAGE_STATS_ENABLED": "0",
            **(environment or {}),
        }
        head = {} if self.machines else {"_system_config": _QUICK_TO_NOTICE}
        node = self._cluster.add_node(
            num_cpus=1,
            resources=dict(resources),
            object_store_memory=_STORE_BYTES,
            include_dashboard=False,
            node_ip_address=LOOPBACK,
            env_vars=own,
            **head,
        )
        machine = Machine(folder=folder, node=node)
        self.machines.append(machine)
        return machine

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def farm(root: Path) -> Iterator[Farm]:
    """Yield a farm without machines; none of their processes outlives it."""
    opened = Farm(root)
    try:
        yield opened
    finally:
        opened.close()
