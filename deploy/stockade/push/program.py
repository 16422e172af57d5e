# SPDX-License-Identifier: MIT
"""The one command that goes to a host, and the program that it then reads from its stdin."""

from __future__ import annotations

import ast
import functools
import io
import json
import re
import tokenize
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stockade.errors import Refused
from stockade.facts import FAMILIES, MANAGERS
from stockade.model import File, Host, Manifest, Mode
from stockade_agent.control.protocol import Request


CONVERGE = Path(__file__).parent.parent / "converge"
ORDER = (
    "host",
    "wire",
    "facts",
    "files",
    "undo",
    "bytecode",
    "controllers",
    "service",
    "push",
    "main",
)
"""The modules of the program; each imports only those before it."""

# What follows passes through whatever login shell the account has, sh or not, inside single
# quotes: so one line each, without ', !, backslash or newline.
#
# sh: $1 marker, $2 wanted Python or "", $3 Python code, $4 SSH_CONNECTION.
# Status 2 is an option that Python 2 does not know, 97 a Python that is too old or not whole.
_LOADER = (
    'PATH="$PATH:/usr/bin:/bin"; LC_ALL=C; export PATH LC_ALL; '
    # Not whatever comes first on a user's PATH: the agent will run as root by this Python.
    "for p in $2 /usr/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 "
    "/usr/bin/python3.10 /usr/bin/python3.9 /usr/libexec/platform-python "
    "/usr/local/bin/python3; do "
    'command -v "$p" >/dev/null 2>&1 || continue; '
    '"$p" -I -S -c "$3" "$1" "$4"; r=$?; '
    "case $r in 2|97|126|127) ;; *) exit $r;; esac; done; "
    "for f in /etc/os-release /usr/lib/os-release; do [ -r $f ] && . $f && break; done; "
    'for m in apt-get dnf; do command -v $m >/dev/null 2>&1 && M="$M ${m%-get}"; done; '
    'q() { echo "$*" | tr -cd "A-Za-z0-9 .:%_-"; }; '
    'echo; echo "$1{\\"say\\": \\"bare\\", \\"id\\": \\"$(q $ID)\\", '
    '\\"id_like\\": \\"$(q $ID_LIKE)\\", \\"version_id\\": \\"$(q $VERSION_ID)\\", '
    '\\"managers\\": \\"$(q $M)\\", \\"connection\\": \\"$(q $4)\\"}"'
)
# Python: sys.argv is ["-c", marker, SSH_CONNECTION]. Errors before "ready" go to stdout with
# the rest, so that a Python that cannot start is told apart from one that is not there.
_READY = (
    "import sys; sys.version_info < (3, 9) and sys.exit(97); "
    "import importlib.util as u; "
    '[u.find_spec(m) or sys.exit(97) for m in ("json", "zlib", "hashlib", "_socket", "_sqlite3")]; '
    "import zlib; i, o, m = sys.stdin.buffer, sys.stdout.buffer, sys.argv[1].encode(); "
    'o.write(m.join((b"%c" % 10, b"{%csay%c: %cready%c}%c" % (34, 34, 34, 34, 10)))); o.flush(); '
    'h = next((l for l in i if l.startswith(m)), b"").split(); '
    "h or sys.exit(1); "
    "p, r = [zlib.decompress(i.read(int(n))).decode() for n in h[1:3]]; "
    'exec(p, {"marker": sys.argv[1], "connection": sys.argv[2], "request": r, "i": i, "o": o})'
)
_DIRECT = 'exec /bin/sh -c "$1" stockade "$2" "$3" "$4" "$SSH_CONNECTION"'
_SUDO = "LC_ALL=C; export LC_ALL; " + _DIRECT.replace("exec", "exec sudo %s --")


def command(host: Host, marker: str) -> str:
    """Return the command line of the one exec; it holds no secret.

    Raises:
        Refused: the Python that the inventory names could not be quoted in every shell.
    """
    if not re.fullmatch(r"[\w./+-]*", host.python or ""):
        raise Refused(
            f"{host.python!r} is no path of a Python",
            host=host.name,
            remedy="correct ansible_python_interpreter",
        )
    if host.become:
        start = _SUDO % ('-S -p ""' if host.become_password is not None else "-n")
    else:
        start = _DIRECT
    words = (start, "stockade", _LOADER, marker, host.python or "", _READY)
    return "exec /bin/sh -c " + " ".join(f"'{word}'" for word in words)


@functools.cache
def program() -> bytes:
    """Return converge as one program, packed; the same for all hosts."""
    sources = {name: _bare((CONVERGE / f"{name}.py").read_text()) for name in ORDER}
    text = (
        "import sys, types\n"
        "for name in ('stockade', 'stockade.converge'):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    sys.modules[name].__path__ = []\n"
        f"for name, source in {sources!r}.items():\n"
        "    module = types.ModuleType('stockade.converge.' + name)\n"
        "    sys.modules[module.__name__] = module\n"
        "    setattr(sys.modules['stockade.converge'], name, module)\n"
        "    exec(compile(source, 'converge/' + name + '.py', 'exec'), module.__dict__)\n"
        "sys.modules['stockade.converge.main'].main(marker, connection, i, o, request)\n"
    )
    return zlib.compress(text.encode(), 9)


def _bare(source: str) -> str:
    """Return a module without comments and docstrings, its line numbers kept."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            text = node.body[0]
            indent = " " * text.col_offset
            first, last = text.lineno - 1, text.end_lineno or text.lineno
            lines[first:last] = [indent + '""', *[""] * (last - first - 1)]
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return "\n".join(lines) + "\n"


def request(
    mode: Mode,
    manifest: Manifest,
    *,
    diff: bool = False,
    root: str = "/",
    health_timeout: float = 120.0,
    lock_timeout: float = 10.0,
    deploys: bool = False,
    ask: Request | None = None,
) -> bytes:
    """Return what converge shall do, packed: paths, modes and hashes, no contents.

    ``ask`` is what the agent is asked in the mode of that name.
    The agent must be well ``health_timeout`` seconds after the switch; another push on that
    host is given ``lock_timeout`` seconds to end.
    """
    order: Mapping[str, Any] = {
        "mode": mode,
        "diff": diff,
        "root": root,
        "health_timeout": health_timeout,
        "lock_timeout": lock_timeout,
        "families": FAMILIES,
        "managers": MANAGERS,
        "files": [_file(file) for file in manifest.files],
        "packages": dict(manifest.packages),
        "firewall": manifest.firewall,
        "controllers": manifest.controllers,
        "jails": manifest.jails,
        "deploys": manifest.deploys if deploys else (),
        "ask": asdict(ask or Request("status")),
    }
    return zlib.compress(json.dumps(order, separators=(",", ":")).encode(), 9)


def _file(file: File) -> dict[str, Any]:
    return {
        "path": file.path,
        "sha256": file.sha256,
        "mode": file.mode,
        "secret": file.secret,
        "restart": file.restart,
        "unclaimed": file.unclaimed,
    }
