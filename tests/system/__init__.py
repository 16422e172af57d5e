# SPDX-License-Identifier: MIT
"""The whole of stockade on real hosts: push, attack, ban, unban, report."""
