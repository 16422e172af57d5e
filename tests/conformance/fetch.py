# SPDX-License-Identifier: MIT
"""Debian's fail2ban packages, unpacked under build/fail2ban/VERSION; nothing is installed.

    python -m conformance.fetch [VERSION ...]

The mirror is the machine's own. A package of another Debian release than the machine's is found
through package lists of its own, which leave the machine's alone.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


ROOT = Path(__file__).parent.parent.parent
BUILD = ROOT / "build" / "fail2ban"
SUITES = {"1.0.2": "bookworm", "1.1.0": "trixie"}
ARCHIVE = {"bullseye", "forky", "sid", "stable", "testing", *SUITES.values()}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """The package cannot be had here."""


def fetch(version: str) -> Path:
    """Return the directory where the package of that version is unpacked."""
    target = BUILD / version
    if target.is_dir():
        return target
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Unavailable(f"fail2ban {version}: apt-get and dpkg are needed")
    BUILD.mkdir(parents=True, exist_ok=True)
    print(f"fetching Debian's fail2ban {version} into {target}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=".fetch-") as folder:
        scratch = Path(folder)
        unpacked = scratch / "unpacked"
        _run(("dpkg", "-x", str(_download(version, scratch)), str(unpacked)), scratch)
        try:
            unpacked.rename(target)
        except OSError:
            # Another run may have been faster.
            if not target.is_dir():
                raise
    return target


def _download(version: str, scratch: Path) -> Path:
    wanted = f"fail2ban={version}-*"
    # The machine's own lists are tried first: they save a download of 10 MB.
    subprocess.run(("apt-get", "download", wanted), cwd=scratch, capture_output=True, check=False)
    if not list(scratch.glob("fail2ban_*.deb")):
        apt = ("apt-get", *_own_lists(SUITES[version], scratch))
        _run((*apt, "update"), scratch)
        _run((*apt, "download", wanted), scratch)
    return next(scratch.glob("fail2ban_*.deb"))


def _own_lists(suite: str, scratch: Path) -> tuple[str, ...]:
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    source = f"deb [signed-by={KEYRING}] {_mirror(scratch)} {suite} main\n"
    (scratch / "sources.list").write_text(source)
    options = (
        f"Dir::Etc::sourcelist={scratch}/sources.list",
        "Dir::Etc::sourceparts=/dev/null",
        f"Dir::State::Lists={scratch}/lists",
        f"Dir::Cache={scratch}/cache",
        "APT::Sandbox::User=root",
        "Acquire::Languages=none",
    )
    return tuple(word for option in options for word in ("-o", option))


def _mirror(scratch: Path) -> str:
    command = ("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages")
    sites = [line.split() for line in _run(command, scratch).splitlines()]
    for site, *suite in sites:
        if suite and suite[0] in ARCHIVE:
            return site
    raise Unavailable("apt's sources name no mirror of Debian")


def _run(command: tuple[str, ...], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:1])}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    for name in sys.argv[1:] or SUITES:
        print(fetch(name))
