# SPDX-License-Identifier: MIT
"""What runs on the host: Python >= 3.9, the standard library, nothing else.

    facts ─▶ compare ─▶ stage and check ─▶ undo log ─▶ write ─▶ service ─▶ health ─▶ result
                                              └──────── put back on failure ◀──────┘

``push`` sends the modules of this folder as one program over ssh; they never come to lie on
the host's disk. ``wire`` says how the two talk.
"""
