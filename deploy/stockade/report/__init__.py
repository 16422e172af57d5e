# SPDX-License-Identifier: MIT
"""What a person or a program reads of a run: ``terminal`` (rich) and ``json``.

Everything that a host sent is hostile text: it goes through ``text.plain`` before a terminal.
"""
