# SPDX-License-Identifier: MIT
"""The journal as it is by now, read once from its begin to its end, for tools."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from stockade_agent.errors import StockadeError
from stockade_agent.journals import which
from stockade_agent.sources.entries import line_of
from stockade_agent.sources.journal import FIELDS, groups


def arguments(matches: Sequence[str], parameters: Mapping[str, str]) -> list[str]:
    """Return what journalctl is told.

    Args:
        matches: lines of ``journalmatch``; none for all entries.
        parameters: those of ``systemd[…]``; see ``journals``.

    Raises:
        StockadeError: a match or parameter has no meaning.
    """
    told = ["--output=json", "--all", "--quiet", "--no-pager", "--merge"]
    told.append("--output-fields=" + ",".join(FIELDS))
    try:
        told += which(parameters).options
        groups(matches)
    except ValueError as error:
        raise StockadeError(f"journal: {error}") from None
    alternatives = [shlex.split(line) for line in matches]
    for number, terms in enumerate(alternatives):
        told += [*(["+"] if number else []), *terms]
    return told


def entries(
    matches: Sequence[str],
    parameters: Mapping[str, str],
    journalctl: Sequence[str] = ("journalctl",),
) -> Iterator[tuple[str, float]]:
    """Yield each entry as a log line, with its time.

    Raises:
        StockadeError: journalctl is not there or refuses; see ``arguments`` too.
    """
    command = [*journalctl, *arguments(matches, parameters)]
    with tempfile.TemporaryFile() as complaints:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
            )
        except OSError as error:
            raise StockadeError(f"{command[0]}: {error.strerror}") from None
        with child:
            try:
                assert child.stdout is not None  # noqa: S101 - it is a pipe
                for raw in child.stdout:
                    line = line_of(raw)
                    if line is not None:
                        yield line[0].decode(errors="replace"), line[1]
            except BaseException:
                child.kill()
                raise
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip()
    if child.returncode > 0:
        raise StockadeError(f"journalctl ended with {child.returncode}: {said[-500:]}")
