# SPDX-License-Identifier: MIT
"""What needs a package manager, by pyinfra: Python, firewall tools, EPEL, roles' own deploys.

    push ─ one JSON line ─▶ python -m stockade.bootstrap ─ JSON lines ─▶ push

    {"say": "phase", "host": …, "text": …}
    {"say": "done", "host": …, "error": "", "did": [["package", "nftables", "install"]]}

A process of its own: pyinfra works under gevent's monkey patching. Each host has a greenlet
that goes through its steps alone, so that one failing or slow host holds up no other.
``stockade.bootstrap.agent`` offers our agent to the deploys of a pyinfra user.
"""
