"""Lines of JSON and raw bytes between the host and the agent."""

from __future__ import annotations

import json
import os
import select
from typing import Any, Optional

LONGEST_LINE_BYTES = 4 << 20
_PIECE_BYTES = 1 << 18


class HostGone(Exception):  # noqa: N818 - no error: the host ends its connection like this
    """The host closed its end, or was silent for too long."""


class Wire:
    """Reads requests from one descriptor and writes answers to another.

    `silence_s` is how long the host may say nothing: it sends an empty line now and then.
    """

    def __init__(
        self, source: int = 0, sink: int = 1, *, silence_s: Optional[float] = None
    ) -> None:
        self._source = source
        self._sink = sink
        self._silence_s = silence_s
        self._rest = bytearray()

    def read_request(self) -> dict[str, Any]:
        """Return the next request.

        Raises HostGone at the end of the input, and ValueError for a line that is no request.
        """
        while True:
            line = self._read_line()
            if not line.strip():
                continue
            request = json.loads(line.decode("utf-8"))
            if not isinstance(request, dict):
                raise ValueError("a request is a JSON object")
            return request

    def read_piece(self, most: int) -> bytes:
        """Return the next bytes that were announced, at most `most` of them, at least one."""
        if self._rest:
            piece = bytes(self._rest[:most])
            del self._rest[:most]
            return piece
        return self._receive(min(most, _PIECE_BYTES))

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
        while True:
            end = self._rest.find(b"\n")
            if end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                return line
            if len(self._rest) > LONGEST_LINE_BYTES:
                raise HostGone  # this is no host of ours
            self._rest += self._receive(_PIECE_BYTES)

    def _receive(self, most: int) -> bytes:
        if self._silence_s is not None:
            ready, _, _ = select.select([self._source], [], [], self._silence_s)
            if not ready:
                raise HostGone
        data = os.read(self._source, most)
        if not data:
            raise HostGone
        return data
