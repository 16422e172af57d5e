# SPDX-License-Identifier: MIT
"""Host names that need no name server."""


class Names:
    """The names that actions are told."""

    def fully_qualified(self):
        return "host.example.com"

    def short(self):
        return "host"

    def of(self, address):
        return f"host-of-{address}"
