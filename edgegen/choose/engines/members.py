"""Which machines of a cluster take part: those that make the same results, and their devices."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from edgegen.choose.cache import SETTING, Cache
from edgegen.choose.engines.alike import difference, place_of_farm
from edgegen.choose.engines.farm import LOCAL, Node
from edgegen.choose.engines.messages import Answer, Question, Token, making_here, read, write
from edgegen.choose.engines.ray_cluster import JOIN, Cluster, Ended, Event
from edgegen.choose.prepare import Place
from edgegen.core.errors import (
    ConfigError,
    DeviceUnreachableError,
    EdgegenError,
    ResourceError,
    nearest,
)
from edgegen.core.files import STAGING_PREFIX, translate_disk_errors, write_atomic
from edgegen.core.profile import DeviceProfile

_LOOK_S = 2.0
_MOST_SILENCES = 3
_ANSWER_S = 240.0
"""How long machines have to say what they have; a device that doesn't answer takes 180 s."""


class Members:
    """Machines that were asked what they have, and may be given work.

    One that joins later is asked, too, and so is one that was lost and is there again.
    """

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self.warnings: list[str] = []
        self.root: str | None = None
        self._cluster = cluster
        self._making = making_here()
        self._token = Token(name=f"{STAGING_PREFIX}token-{secrets.token_hex(8)}", text=_random())
        self._token_place = cache.folder / self._token.name
        with translate_disk_errors(cache.folder, setting=SETTING):
            cache.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._token_place, self._token.text, setting=SETTING)
        self._name: str | None = None
        self._profile: DeviceProfile | None = None
        self._first: Place | None = None
        self._asked: dict[int, Node] = {}
        self._nodes: dict[str, Node] = {}
        self._answers: dict[str, Answer] = {}
        self._refused: set[str] = set()
        self._silences: Counter[str] = Counter()
        self._looked_s = float("-inf")

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return the machines that may be given work, with the devices that measure."""
        return tuple(self._nodes.values())

    @property
    def is_asking(self) -> bool:
        """Return whether a machine is still to say what it has."""
        return bool(self._asked)

    @property
    def room(self) -> int:
        """Return how many tasks can be done at once."""
        attached = {
            device.address
            for node in self._nodes.values()
            for device in node.devices
            if device.address != LOCAL
        }
        return sum(node.slots for node in self._nodes.values()) + len(attached)

    def shares_cache(self, node: Node) -> bool:
        """Return whether a machine has the same cache as this one."""
        return self._answers[node.id].shares_cache

    def look(self, *, now: bool = False) -> None:
        """See which machines are there, at most every few seconds, and ask those that are new."""
        if not now and time.monotonic() - self._looked_s < _LOOK_S:
            return
        self._looked_s = time.monotonic()
        alive = {node.id: node for node in self._cluster.nodes()}
        self._nodes = {it: node for it, node in self._nodes.items() if it in alive}
        asked = {node.id for node in self._asked.values()}
        for node in alive.values():
            if node.id not in self._nodes and node.id not in self._refused | asked:
                self._ask(node)

    def wait(self) -> None:
        """Wait until all machines that are there have said what they have."""
        self.look(now=True)
        until_s = time.monotonic() + _ANSWER_S
        while self._asked and time.monotonic() < until_s:
            for number, event in self._cluster.events(1.0):
                self.hear(number, event)
            self.look()
        for node in self._asked.values():
            self._refuse(node, "it doesn't answer")
        self._asked.clear()

    def require_some(self) -> None:
        """Raise ResourceError where no machine takes part."""
        if not self._nodes:
            raise ResourceError(
                "No machine of the Ray cluster takes part. "
                + " ".join(self.warnings or ["None has the resource 'edgegen'."]),
                hint=f"Each machine joins with how many tasks it does at once: {JOIN}",
            )

    def place(self, name: str, root: str | None, profile: DeviceProfile | None) -> Place:
        """Ask the machines for the devices called `name`; see `RayEngine.place`."""
        self._name, self.root, self._profile = name, root, profile
        having = [node for node in self._cluster.nodes() if node.id in self._nodes]
        known = {it.name for node in having for it in node.devices}
        having = [node for node in having if any(it.is_called(name) for it in node.devices)]
        if not having:
            there = nearest(name, known) if known else "None has a device."
            raise ConfigError(
                f"No machine of the Ray cluster has the device '{name:.80}'.",
                hint=f"""{there} A machine says so as it joins: """
                """--resources '{"edgegen": 1, "device:NAME=ADDRESS": 1}'""",
            )
        for node in having:
            del self._nodes[node.id]
        self.wait()
        places, lacking = self._places()
        if not places:
            raise DeviceUnreachableError(
                f"No device called '{name}' can be used: {'; '.join(lacking) or 'none answers'}.",
                hint="Try `edgegen devices` on its machine.",
            )
        self._first = places[0][1]
        self.warnings += lacking
        return place_of_farm(name, root, places)

    def hear(self, number: int, event: Event) -> bool:
        """Take a machine's answer; return whether it was one."""
        node = self._asked.pop(number, None)
        if node is None:
            return False
        if isinstance(event, Ended):  # if the machine is there still, it is asked again
            self._silences[node.id] += 1
            if self._silences[node.id] >= _MOST_SILENCES:
                self._refuse(node, event.why)
            return True
        try:
            answer = read(Answer, event if isinstance(event, str) else "")
        except (EdgegenError, ValueError) as error:
            self._refuse(node, f"it answers something else: {error}")
            return True
        how = self._making.difference(answer.making)
        if how:
            self._refuse(node, f"it {how}")
            return True
        self._answers[node.id] = answer
        devices = tuple(it for it in node.devices if self._may_measure(answer.places, it.address))
        self._nodes[node.id] = replace(node, devices=devices) if self._name else node
        return True

    def doubt(self, node: Node, why: str) -> None:
        """Ask a machine again before it is given more work, and warn of it once; say why."""
        warning = f"{node.host}: {why}."
        if self._nodes.pop(node.id, None) is not None and warning not in self.warnings:
            self.warnings.append(warning)

    def close(self) -> None:
        """Remove what was put into the cache."""
        self._token_place.unlink(missing_ok=True)

    def _ask(self, node: Node) -> None:
        name = self._name
        addresses = [it.address for it in node.devices if name is not None and it.is_called(name)]
        question = Question(
            token=self._token,
            addresses=tuple(dict.fromkeys(addresses)),
            root=self.root,
            profile=self._profile,
        )
        self._asked[self._cluster.ask(node, write(question))] = node

    def _may_measure(self, places: Mapping[str, Place], address: str) -> bool:
        """Return whether a device is there, and like the first one, where that is known."""
        place = places.get(address)
        if place is None:
            return False
        return self._first is None or not difference(self._first, place)

    def _places(self) -> tuple[list[tuple[str, Place]], list[str]]:
        """Return the devices that answered, with what names them, and of the others why not."""
        places, lacking = [], []
        for node in self._nodes.values():
            answer = self._answers[node.id]
            places += [(f"{it} of {node.host}", place) for it, place in answer.places.items()]
            lacking += [f"{it} of {node.host}: {why}" for it, why in answer.lacking.items()]
        return places, lacking

    def _refuse(self, node: Node, why: str) -> None:
        self._refused.add(node.id)
        self.warnings.append(f"{node.host} takes no part: {why}.")


def _random() -> str:
    return secrets.token_hex(16)
