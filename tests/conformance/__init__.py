# SPDX-License-Identifier: MIT
"""stockade beside fail2ban, an external program that is fetched when these tests run."""
