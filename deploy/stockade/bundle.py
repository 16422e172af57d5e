# SPDX-License-Identifier: MIT
"""The agent as one file: a zipapp with the same bytes wherever it is made.

Names are sorted, times are fixed, modes are the same for all; only another zlib may compress
to other bytes. ``BUILD`` names what it holds, so that it finds the modules that
``converge.bytecode`` compiled of it, and no others. ``python -m stockade.bundle PATH`` writes it
and prints size and hash.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from functools import cache
from pathlib import Path

import stockade_agent


PACKAGE = "stockade_agent"
MAIN = """\
# SPDX-License-Identifier: MIT
import sys


BUILD = "{build}"
# The same modules, compiled: a push leaves them here. Where there are none, ours are taken.
sys.path.insert(0, f"{{sys.path[0]}}.{{BUILD}}.{{sys.implementation.cache_tag}}")

from stockade_agent.cli import main


sys.exit(main())
"""

# The oldest time that a zip archive can name.
_THEN = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


@cache
def build() -> bytes:
    """Return the zipapp of the installed ``stockade_agent``, from a wheel or a checkout."""
    root = Path(stockade_agent.__file__).parent
    contents = {
        f"{PACKAGE}/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in root.rglob("*.py")
    }
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(b"%s %d\n%s" % (name.encode(), len(contents[name]), contents[name]))
    contents["__main__.py"] = MAIN.format(build=digest.hexdigest()[:16]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            member = zipfile.ZipInfo(name, _THEN)
            member.create_system = _UNIX
            member.external_attr = 0o100644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, contents[name], compresslevel=9)
    return buffer.getvalue()


def main(arguments: list[str]) -> int:
    """Write the bundle to the path given; returns the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m stockade.bundle PATH", file=sys.stderr)
        return 2
    path, content = Path(arguments[0]), build()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{path}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
