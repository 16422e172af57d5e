# SPDX-License-Identifier: MIT
"""Everything that the controller raises on purpose.

    StockadeError            one line for an operator; ``str()`` is that line
    ├── InputError           inventory, role, template or jail file is wrong (exit 1)
    │   └── InputErrors      all that is wrong, a line each
    └── HostError            one host cannot be served; the others go on
        ├── Unreachable      no connection, refused key, unknown or changed host key (exit 4)
        └── Refused          the host was reached, and left untouched (exit 3)

Only ``cli`` turns them into exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable


class StockadeError(Exception):
    """Root of all errors that are meant for a person.

    Attributes:
        remedy: what to do about it, or "".
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message} ({remedy})" if remedy else message)


class InputError(StockadeError):
    """A file that the operator wrote is wrong.

    Attributes:
        path: file at fault, as the operator named it.
        line: its line, counted from 1, or None when the whole file is at fault.
        column: its column, counted from 1, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str,
        line: int | None = None,
        column: int | None = None,
        remedy: str = "",
    ) -> None:
        self.path, self.line, self.column = path, line, column
        place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{place}: {message}", remedy=remedy)

    @property
    def errors(self) -> tuple[InputError, ...]:
        """Every fault by itself: this one, or all of an ``InputErrors``."""
        return (self,)


class InputErrors(InputError):
    """All that is wrong in the files of an operator; ``str()`` has one line for each.

    Args:
        errors: at least one; sorted here by file and line, each fault once.
    """

    def __init__(self, errors: Iterable[InputError]) -> None:
        unique = {str(single): single for error in errors for single in error.errors}
        self._errors = tuple(sorted(unique.values(), key=_position))
        first = self._errors[0]
        super().__init__("", path=first.path, line=first.line, column=first.column)
        self.message = str(self)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self._errors)

    @property
    def errors(self) -> tuple[InputError, ...]:
        """Every fault by itself."""
        return self._errors


class HostError(StockadeError):
    """One host cannot be served.

    Attributes:
        host: its name in the inventory.
    """

    def __init__(self, message: str, *, host: str, remedy: str = "") -> None:
        self.host = host
        super().__init__(message, remedy=remedy)


class Unreachable(HostError):
    """No session with the host: network, key, or host key."""


class Refused(HostError):
    """The host was reached, cannot be served as it is, and was left untouched."""


def _position(error: InputError) -> tuple[str, int, int]:
    return error.path, error.line or 0, error.column or 0
