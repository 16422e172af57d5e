# SPDX-License-Identifier: MIT
"""Bans to put into a ledger."""

from stockade_agent.model import Ban, target


def ban(id_="192.0.2.7", jail="sshd", **values):
    return Ban(
        **{
            "jail": jail,
            "id": id_,
            "address": target(id_),
            "at": 1000.0,
            "bantime": 600,
            "failures": 5,
            "matches": ("Failed password for \x1b[31mroot",),
            "data": {"user": "root"},
            **values,
        }
    )
