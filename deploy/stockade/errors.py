# SPDX-License-Identifier: MIT
"""Everything that the controller raises on purpose.

    StockadeError            one line for an operator; ``str()`` is that line
    ├── InputError           inventory, role, template or jail file is wrong (exit 1)
    └── HostError            one host cannot be served; the others go on
        ├── Unreachable      no connection, refused key, unknown or changed host key (exit 4)
        └── Refused          the host was reached, and left untouched (exit 3)

Only ``cli`` turns them into exit codes.
"""


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
