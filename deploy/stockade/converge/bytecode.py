# SPDX-License-Identifier: MIT
"""The agent's modules, compiled by the Python that serves it here.

A zipapp keeps no bytecode, and compiling takes more than half of what a start costs. So a
further archive lies beside it, named after the zipapp's ``BUILD`` and the kind of Python:
whichever agent is started, by whichever Python, takes its own or none.
"""

from __future__ import annotations

import ast
import io
import marshal
import re
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from types import CodeType
from typing import Optional

from stockade.converge import files
from stockade.converge.host import Host


_BUILD = re.compile(r'^BUILD = "([0-9a-f]{16})"$', re.MULTILINE)
# PEP 552: named by a hash, and not to be compared with a source.
_UNCHECKED = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)


def place(bundle: str, content: bytes) -> Optional[str]:
    """Return where the compiled modules of a zipapp belong; None where it takes none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = _BUILD.search(archive.read("__main__.py").decode())
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        return None
    return f"{bundle}.{found[1]}.{sys.implementation.cache_tag}" if found else None


def write(host: Host, path: str, content: bytes) -> None:
    """Write the compiled modules of a zipapp, with the sources that tracebacks show."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(buffer, "w") as compiled:
        for name in archive.namelist():
            source = archive.read(name)
            if name != "__main__.py":
                compiled.writestr(
                    f"{name}c", _UNCHECKED + marshal.dumps(_code(source, f"{path}/{name}"))
                )
                compiled.writestr(name, source, zipfile.ZIP_DEFLATED)
    files.write(host, path, buffer.getvalue(), 0o644)


def _code(source: bytes, path: str) -> CodeType:
    """Return a module's code without docstrings, a tenth of what it takes in memory.

    Classes keep theirs: ``dataclasses`` loads ``inspect`` to make up for one that is missing.
    """
    tree = ast.parse(source, path)
    for node in ast.walk(tree):
        told = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, told) and ast.get_docstring(node, clean=False) is not None:
            if isinstance(node, ast.Module):
                del node.body[0]  # nothing else may stand before what it imports of the future
            else:
                node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
    return compile(tree, path, "exec", dont_inherit=True, optimize=0)


def sweep(host: Host, bundle: str, kept: Optional[str]) -> None:
    """Remove what was compiled of other zipapps, or by other Pythons."""
    place = host.at(bundle)
    for left in place.parent.glob(f"{place.name}.*"):
        if kept is None or left != host.at(kept):
            left.unlink()
