"""Lines of JSON and raw bytes between the host and the agent."""

from __future__ import annotations

import json
import os
import select
import threading
from typing import Any, Callable, Optional

LONGEST_LINE_BYTES = 4 << 20
_PIECE_BYTES = 1 << 18
_MOST_AHEAD_BYTES = 4 << 20


class HostGone(Exception):  # noqa: N818 - no error: the host ends its connection like this
    """The host closed its end, or was silent for too long."""


class Wire:
    """Reads requests from one descriptor and writes answers to another.

    A thread reads ahead, so that the host's end is seen at once, also while a request takes
    minutes: then ``host_gone`` is called, which ends the process. ``silence_s`` is how long the
    host may say nothing: it sends an empty line now and then.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        *,
        silence_s: Optional[float],
        host_gone: Callable[[], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._silence_s = silence_s
        self._host_gone = host_gone
        self._ahead = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read_ahead, name="host", daemon=True)
        self._thread.start()

    def read_request(self) -> dict[str, Any]:
        """Return the next request.

        Raises HostGone at the end of the input, and ValueError for a line that is no request.
        """
        while True:
            line = self._read_line()
            if not line.strip():
                continue
            try:
                request = json.loads(line.decode("utf-8"))
            except RecursionError as error:
                raise ValueError("a request is nested too deeply") from error
            if not isinstance(request, dict):
                raise ValueError("a request is a JSON object")
            return request

    def read_piece(self, most: int) -> bytes:
        """Return the next bytes that were announced, at most `most` of them, at least one."""
        with self._changed:
            self._wait_for(lambda: bool(self._ahead))
            return self._take(most)

    def answer(self, **fields: Any) -> None:
        """Write one answer."""
        text = json.dumps(fields, ensure_ascii=True, allow_nan=False)
        self.write(text.encode("ascii") + b"\n")

    def write(self, data: bytes) -> None:
        """Write raw bytes.

        Raises HostGone where nobody reads them.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._sink, view) :]
        except OSError as error:
            raise HostGone from error

    def _read_line(self) -> bytes:
        with self._changed:
            self._wait_for(lambda: b"\n" in self._ahead or len(self._ahead) >= LONGEST_LINE_BYTES)
            end = self._ahead.find(b"\n")
            if end < 0:
                raise HostGone  # this is no host of ours
            return self._take(end + 1)

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._ended:
                raise HostGone
            self._changed.wait()

    def _take(self, most: int) -> bytes:
        piece = bytes(self._ahead[:most])
        del self._ahead[:most]
        self._changed.notify_all()
        return piece

    def _read_ahead(self) -> None:
        while True:
            data = self._receive()
            with self._changed:
                if not data:
                    self._ended = True
                    self._changed.notify_all()
                    break
                self._ahead += data
                self._changed.notify_all()
                while len(self._ahead) >= _MOST_AHEAD_BYTES:
                    self._changed.wait()
        self._host_gone()

    def _receive(self) -> bytes:
        if self._silence_s is not None:
            ready, _, _ = select.select([self._source], [], [], self._silence_s)
            if not ready:
                return b""
        try:
            return os.read(self._source, _PIECE_BYTES)
        except OSError:
            return b""
