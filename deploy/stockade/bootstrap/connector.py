# SPDX-License-Identifier: MIT
"""pyinfra's ssh connector, with our rules: strict host keys, no password in a command line."""

from __future__ import annotations

from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, make_unix_command_for_host


CONTROL = ("_get_pty", "_timeout", "_stdin", "_success_exit_codes")
SUDO = ("_sudo", "_sudo_user", "_use_sudo_login", "_sudo_password", "_preserve_sudo_env")


class StrictConnector(SSHConnector):
    """An ssh connection whose sudo reads its password from standard input.

    pyinfra's own way puts it into the environment of a command line, where ``ps`` and the
    audit log of the host can see it.
    """

    become_password: str | None = None

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,  # noqa: FBT001, FBT002 - pyinfra's signature
        print_input: bool = False,  # noqa: FBT001, FBT002 - the same
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        """Run a command; through sudo with the password where the arguments ask for it."""
        if arguments.get("_sudo") and self.become_password is not None:
            control = {key: arguments.pop(key) for key in CONTROL if key in arguments}
            sudo = {key: arguments.pop(key, None) for key in SUDO}
            inner = make_unix_command_for_host(self.state, self.host, command, **arguments)
            user = ("-u", QuoteString(sudo["_sudo_user"])) if sudo["_sudo_user"] else ()
            # -k: the line on stdin is always read, never left over for the command.
            command = StringCommand("sudo -H -k -S -p", QuoteString(""), *user, "--", inner)
            given = control.pop("_stdin", None) or []
            lines = given if isinstance(given, list | tuple) else [given]
            control["_stdin"] = [self.become_password, *lines]
            arguments = {**control, "_shell_executable": None}
        return super().run_shell_command(command, print_output, print_input, **arguments)

    def disconnect(self) -> None:
        """Close the connection; pyinfra leaves that to the garbage collector."""
        super().disconnect()
        if self.client is not None:
            self.client.close()
