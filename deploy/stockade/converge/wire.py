# SPDX-License-Identifier: MIT
"""How converge and the controller talk, over one ssh exec.

    host        MARKER {"say": "ready", ...}                      from the loader
    controller  MARKER <bytes of program> <bytes of request>     a line, then both, zlib
    host        MARKER {"say": "phase", "text": ...}              any number
    host        MARKER {"say": "need", "sha256": [...]}           at most once
    controller  <bytes>                                a line, then zlib, per content
    host        MARKER {"say": "result", ...}                     the last

The marker is new for each session. Lines without it, such as the greeting of a shell's
start-up file, are not ours and are passed over.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO


class HangUp(Exception):
    """The controller went away or sent what was not asked for."""


class Wire:
    """The host's end. Speaking never fails: a push under way must not stop at a cut line."""

    def __init__(self, marker: str, reader: BinaryIO, writer: BinaryIO) -> None:
        self._marker, self._reader, self._writer = marker.encode(), reader, writer
        self._cut = False

    def say(self, what: str, **fields: Any) -> None:
        """Send one message."""
        line = json.dumps({"say": what, **fields}).encode()
        if self._cut:
            return
        try:
            self._writer.write(b"\n" + self._marker + line + b"\n")
            self._writer.flush()
        except OSError:
            self._cut = True

    def phase(self, text: str) -> None:
        """Tell what is being done now."""
        self.say("phase", text=text)

    def fetch(self, hashes: Sequence[str]) -> dict[str, bytes]:
        """Return the contents that have these hashes.

        Raises:
            HangUp: the line was cut, or a content does not have its hash.
        """
        if not hashes:
            return {}
        self.say("need", sha256=list(hashes))
        contents = {}
        for sha256 in hashes:
            header = self._reader.readline(32)
            if not header.strip().isdigit():
                raise HangUp("the connection was cut while files were on their way")
            packed = self._reader.read(int(header))
            try:
                content = zlib.decompress(packed)
            except zlib.error:
                raise HangUp("the connection was cut while files were on their way") from None
            if hashlib.sha256(content).hexdigest() != sha256:
                raise HangUp(f"content {sha256[:12]} arrived damaged")
            contents[sha256] = content
        return contents
