# SPDX-License-Identifier: MIT
"""Exit codes, and what a command line means where it says nothing."""

OK, USAGE, FAILED, NO_AGENT = 0, 1, 3, 4
DIRECTORY = "/etc/stockade"
FAIL2BAN_CLIENT = "fail2ban-client"
"""The command that speaks another's words, and the name of a link that does."""
