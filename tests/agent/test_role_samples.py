# SPDX-License-Identifier: MIT
"""Do the roles' filters say of each sample line what stands above it?"""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stockade_agent.config import filter_spec
from stockade_agent.filter import Filter
from stockade_agent.model import Block


ROLES = Path(__file__).parent.parent.parent / "roles"
NOW = datetime.fromisoformat("2024-05-20T00:00:00+00:00").timestamp()

VERDICT = re.compile(r"# -> (.+)")
FILTER = re.compile(r"# filter = (\w+)(?:\[(.*)\])?")
SECTION = re.compile(r"# ---- (.*)")
RELEASE = re.compile(r"\b\d+(?:\.\d+)*\b")

# What a release on the lab's hosts never writes; other releases of OpenSSH, or other builds, do.
UNSAID = {
    ("sshd", "9.2"): (
        "^Failed publickey for invalid user ",  # sshd knows no keys of such users; 8.0 said it
        "^(?:Did not receive identification string from|Timeout before ",  # Debian's patch is mute
        "^Bad protocol version identification ",  # until 7
        "^drop connection #",  # penalties came with 9.8
    ),
    ("sshd", "10"): (
        "^Failed publickey for invalid user ",
        "^Bad protocol version identification ",
    ),
    ("dropbear", "2022.83"): (),
    ("dropbear", "2025.89"): (),
    ("tightvnc", "1.3.10"): (),
}
MODES = {"sshd": ("normal", "ddos", "extra", "aggressive"), "dropbear": ("normal", "aggressive")}


def logs():
    return sorted(ROLES.glob("*/samples/*.log"))


class Reader:
    """Reads a sample log with the real configuration reader and the real filter."""

    def __init__(self, path):
        self.path, self.filters, self.journal = path, {}, False
        self.filter = self.choose(path.stem, "")

    def choose(self, name, parameters):
        key = (name, parameters)
        if key not in self.filters:
            given = dict(part.split("=") for part in parameters.split(",") if part)
            spec = filter_spec(str(self.path.parent.parent), name, given)
            self.filters[key] = Filter(spec, findtime=10**9, now=NOW)
        return self.filters[key]

    def lines(self):
        """Yield each sample line with its number and verdict; what `judged` uses moves along."""
        verdict = None
        for number, line in enumerate(self.path.read_text().splitlines(), start=1):
            chosen, said = FILTER.fullmatch(line), VERDICT.fullmatch(line)
            if chosen:
                self.filter, self.journal = self.choose(chosen[1], chosen[2] or ""), False
            elif line == "# journal":
                self.journal = True
            elif said:
                verdict = said[1]
            elif line and not line.startswith("#"):
                assert verdict, f"{self.path}:{number}: no verdict above it"
                yield number, verdict, line
                verdict = None

    def recorded(self, release):
        """Yield the sample lines that a release wrote, and whether they are from a journal."""
        section, numbers = "", {}
        for number, line in enumerate(self.path.read_text().splitlines(), start=1):
            section = found[1] if (found := SECTION.fullmatch(line)) else section
            numbers[number] = section
        for number, _, line in self.lines():
            if "not recorded" not in numbers[number] and release in RELEASE.findall(
                numbers[number]
            ):
                yield line, self.journal

    def judged(self, line):
        times = [NOW] if self.journal else None
        block = Block(("w",), "log", line.encode() + b"\n", "", times)
        return list(self.filter.failures(block, NOW, live=False))


def stated(failures, verdict):
    """Return what came of a line in the words of its verdict."""
    if not failures:
        return "none"
    failure, words = failures[0], verdict.split()
    tags = [word.partition("=")[0] for word in words if "=" in word]
    said = [failure.id, *(f"{tag}={failure.data.get(tag)}" for tag in tags)]
    if words[0].endswith("Z"):
        said.insert(0, datetime.fromtimestamp(failure.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    return " ".join(said)


@pytest.mark.parametrize("path", logs(), ids=lambda path: path.stem)
def test_every_sample_gets_its_verdict(path, zone):
    """Each line is a failure of whom, and when, the line above it says; or none."""
    zone("UTC")
    reader = Reader(path)
    for number, verdict, line in reader.lines():
        failures = reader.judged(line)
        assert verdict == stated(failures, verdict), f"{path}:{number}"
        assert len(failures) <= 1, f"{path}:{number}"


def test_every_filter_has_samples():
    """A filter of ours without recorded lines is not proved to do anything."""
    filters = {path.stem for path in ROLES.glob("*/filter.d/*.conf")}

    assert filters == {path.stem for path in logs()}
    assert filters


@pytest.mark.parametrize("path", logs(), ids=lambda path: path.stem)
def test_every_failregex_is_sampled(path, zone):
    """No failregex stands there that no sample line needs."""
    zone("UTC")
    reader, used = Reader(path), set()
    for _, _, line in reader.lines():
        at = NOW if reader.journal else None
        found = reader.filter.examine(line, NOW, at=at, live=False)
        used |= {reader.filter.spec.failregex[one.number] for one in found}
    every = {regex for one in reader.filters.values() for regex in one.spec.failregex}

    assert set() == every - used


@pytest.mark.parametrize(
    "name, release, mode",
    [
        pytest.param(*key, mode, id=f"{key[0]}-{key[1]}-{mode}")
        for key in UNSAID
        for mode in MODES.get(key[0], ("",))
    ],
)
def test_every_failregex_is_recorded_from_every_release(name, release, mode, zone):
    """Each failregex of each mode has a line that this release wrote, but for the unsaid."""
    zone("UTC")
    (path,) = ROLES.glob(f"*/samples/{name}.log")
    reader, used = Reader(path), set()
    tried = reader.choose(name, f"mode={mode}" if mode else "")
    for line, journal in reader.recorded(release):
        found = tried.examine(line, NOW, at=NOW if journal else None, live=False)
        used |= {tried.spec.failregex[one.number] for one in found}
    unsaid = {
        regex
        for regex in tried.spec.failregex
        if re.sub(r"<[^>]*>", "", regex).startswith(UNSAID[name, release])
    }

    assert unsaid == set(tried.spec.failregex) - used
