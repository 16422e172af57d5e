# SPDX-License-Identifier: MIT
"""Faults made on purpose, and what the agent does then: ``make faults``.

The real agent runs as a process, on real files, with the real nftables in a network namespace
of its own wherever the firewall matters. Whatever is random is seeded: ``FAULTS_SEED`` gives
another run of the same kind.
"""
