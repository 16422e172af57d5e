# SPDX-License-Identifier: MIT
"""The agent beside fail2ban, sshguard and grep: the same bytes, the same filter, CPU seconds.

python -m bench [ROW ...] [--quick] [--slow] [--markdown]
"""
