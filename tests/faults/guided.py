# SPDX-License-Identifier: MIT
"""Fuzzing that coverage guides, by atheris: ``python -m faults.guided TARGET FOLDER [FLAG …]``.

Each target takes bytes and runs the agent's own code on them in this process, so that libFuzzer
sees which of its branches they reach, and mutates what reached a new one. What breaks is kept
under build/faults; ``python -m faults.guided TARGET FOLDER FILE`` does it again.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.cost import TIED
from conformance.fetch import ROOT


KEPT = ROOT / "build" / "faults"
MEMORY = "/dev/shm"
"""Where files are written that a disk would make wait for."""
SMALL = 1000
"""Bytes of a filter that is fuzzed whole: of a larger one each run compiles dozens of regexes."""
LONGEST = 4096
"""Bytes of an input."""
HANGS = 10
"""Seconds after which an input is taken to hang."""
ROLES = {"sshd": "sshd", "dropbear": "dropbear", "tightvnc": "tightvnc"}
FILTER = r"""
[INCLUDES]
before = none.conf
[DEFAULT]
_daemon = sshd
[Definition]
prefregex = ^<F-MLFID>%(_daemon)s\[\d+\]</F-MLFID>: <F-CONTENT>.+</F-CONTENT>$
failregex = ^Failed password for <F-USER>\S+</F-USER> from <HOST>$
    <mdre-<mode>>
mdre-normal = ^Connection closed by <ADDR>$
mdre-aggressive = ^<F-NOFAIL>Connection</F-NOFAIL> reset by <HOST>$
ignoreregex =
mode = normal
journalmatch = _SYSTEMD_UNIT=ssh.service + _COMM=sshd
[Init]
maxlines = 2
"""
"""What stands beside what is fuzzed: one regex of each kind, as most of the time is theirs."""
ODD = (
    b"[sshd]\nfilter = a\0b\n",
    b"[sshd]\naction = a\0b[x=\0]\n",
    b"[sshd]\nlogpath = /a\0b/*\n",
    b"[INCLUDES]\nbefore = a\0b %(x)s\n",
    b"[sshd]\nfilter = \x1b[2J\xff\nbantime = 9e999y\n",
    b"[sshd]\nbantime = %(bantime)s\nport = <port>\n[x\n",
    b"[Definition]\nfailregex = ((a+)+)+<HOST>(?P<x>\n",
)
"""What a reader stumbles over, for each of the files."""
REQUESTS = (
    {"command": "status"},
    {"command": "ping"},
    {"command": "status", "jail": "sshd"},
    {"command": "ban", "jail": "sshd", "ids": ["192.0.2.7", "2001:db8::/64", "198.51.100.0/24"]},
    {"command": "unban", "jail": "sshd", "ids": ["192.0.2.7", "192.0.2.0/24"]},
    {"command": "unban", "ids": ["all"]},
    {"command": "attempt", "jail": "sshd", "ids": ["192.0.2.9"], "words": ["a line", "another"]},
)


def fuzzed(target: str, seconds: float, seed: int) -> tuple[list[str], str]:
    """Return what was wrong, and how much was tried, of a target fuzzed for some seconds."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stockade-fuzz-", dir=MEMORY) as folder:
        flags = (
            f"-max_total_time={round(seconds)}",
            f"-seed={seed}",
            f"-max_len={LONGEST}",
            f"-timeout={HANGS}",
            "-rss_limit_mb=512",
            f"-artifact_prefix={KEPT}/{target}-",
            "-print_final_stats=1",
            str(_corpus(target, Path(folder) / "corpus")),
        )
        done = subprocess.run(
            (*TIED, sys.executable, "-m", "faults.guided", target, folder, *flags),
            capture_output=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            check=False,
        )
    text = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    runs = re.search(r"number_of_executed_units: *(\d+)", text)
    cover = re.findall(r"cov: (\d+)", text)
    tried = f"{int(runs[1]) if runs else 0:,} inputs"
    if len(cover) > 1:
        tried += f", {cover[0]} branches reached by the first ones, {cover[-1]} in the end"
    wrong = []
    if done.returncode:
        last = [line for line in text.splitlines() if re.search(r"Error|Exception|ALARM|==", line)]
        kept = re.findall(r"Test unit written to (\S+)", text)
        place = Path(kept[-1]).relative_to(ROOT) if kept else "no input kept"
        wrong.append(f"{(last or [text[-200:]])[0].strip()} ({place})")
    elif not runs or not int(runs[1]):
        wrong.append(f"nothing was tried: {text[-200:]}")
    return wrong, tried


# ---- what it starts from


def _corpus(target: str, folder: Path) -> Path:
    folder.mkdir()
    for number, content in enumerate(SEEDS[target]()):
        (folder / str(number)).write_bytes(content)
    return folder


def _samples() -> list[bytes]:
    lines = [
        line
        for path in sorted((ROOT / "roles").glob("*/samples/*.log"))
        for line in path.read_bytes().splitlines()
        if line and not line.startswith(b"#")
    ]
    return [line + b"\n" for line in lines]


def _configurations() -> list[bytes]:
    """Return sections one by one, and regexes: small ones are mutated a hundred times as often."""
    found = [b"\0[sshd]\nenabled = true\nfilter = sshd[mode=aggressive]\nmaxretry = 3\n"]
    found += [b"\0" + part for part in _parts(ROOT / "roles/base/files/jail.conf", rb"\n(?=\[)")]
    found += [bytes([kind]) + text for text in ODD for kind in range(4)]
    for path in sorted((ROOT / "roles").glob("*/filter.d/*.conf")):
        found += [b"\3" + path.read_bytes()] if path.stat().st_size < SMALL else []
        for part in _parts(path, rb"\n(?=\S)"):
            found += [kind + b"[Definition]\n" + part for kind in (b"\1", b"\3")]
    return found


def _parts(path: Path, between: bytes) -> list[bytes]:
    parts = re.split(between, path.read_bytes())
    return [part + b"\n" for part in parts if part and not part.startswith(b"#")]


def _requests() -> list[bytes]:
    gets = [{"command": "get", "jail": "sshd", "option": name} for name in _options()]
    sets = [{**request, "command": "set", "words": ["5"]} for request in gets]
    return [json.dumps(request).encode() for request in (*REQUESTS, *gets, *sets)]


def _options() -> list[str]:
    # Imported here: what is imported before it is instrumented guides nothing.
    from stockade_agent import options

    return [*options._OF_AGENT, *options._OF_JAIL, *options._CHANGES]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "socket": _requests,
    "configuration": _configurations,
    "lines": _samples,
}


# ---- what is run, in a process of its own


def _socket(folder: Path) -> Callable[[bytes], None]:
    from stockade_agent import answers
    from stockade_agent.control import server
    from stockade_agent.control.rows import pieces
    from stockade_agent.errors import StockadeError

    one = _pipe(folder)

    def run(data: bytes) -> None:
        request = server._request(data.partition(b"\n")[0])
        if request is None or request.command == "reload":  # which is the daemon's
            return
        with contextlib.suppress(StockadeError):
            found = answers.answer(one.pipe, request, one.now)
            json.loads(b"".join(pieces({"ok": True, "result": found})))

    return run


def _configuration(folder: Path) -> Callable[[bytes], None]:
    from faults.fuzz import raw
    from faults.host import Host
    from stockade_agent import cli
    from stockade_agent.config import tree

    etc = Host(folder / "host").etc
    (etc / "filter.d/sshd.conf").write_text(FILTER)
    names = ("jail.local", "filter.d/sshd.local", "stockade.local", "filter.d/sshd.conf")
    changed: set[str] = set()
    tree.read_file = _once(tree.read_file, changed)

    # The same in every run, and of no interest here: how the command line is read.
    asked = cli._asked(("check", str(etc)))
    cli._asked = lambda _words: asked

    def run(data: bytes) -> None:
        name = names[data[0] % len(names)] if data else names[0]
        before = (etc / name).read_bytes() if (etc / name).exists() else None
        changed.clear()
        changed.add(str(etc / name))
        (etc / name).write_bytes(data[1:])
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = cli.main(["check", str(etc)])
        text = said.getvalue()
        assert code in {0, 1}, f"check ends with {code}"
        assert text.strip() or not code, "refused without a word"
        assert not raw(text.encode("utf-8", "surrogateescape")), "raw text on a terminal"
        if before is None:
            (etc / name).unlink()
        else:
            (etc / name).write_bytes(before)

    return run


def _once(read: Callable[[str], object], changed: set[str]) -> Callable[[str], object]:
    """Return what parses a file but once, unless it is fuzzed now: the others are as they were."""
    known: dict[str, object] = {}

    def file(path: str) -> object:
        if path in changed or not os.path.isfile(path):
            return read(path)
        if path not in known:
            known[path] = read(path)
        return known[path]

    return file


def _lines(folder: Path) -> Callable[[bytes], None]:
    from faults.fuzz import raw

    one = _pipe(folder)

    def run(data: bytes) -> None:
        one.now += 1
        with one.host.log.open("ab") as log:
            log.write(data + b"\n")
        one.take()
        one.forget_calls()
        assert not raw(one.text.getvalue().encode("utf-8", "surrogateescape")), "raw text in a log"
        one.text.truncate(0)
        assert one.pipe.status(one.now).jails[0].state == "running"
        if one.host.log.stat().st_size > 1 << 20:
            one.host.log.write_bytes(b"")
            one.take()

    return run


def _pipe(folder: Path):
    """Return a pipe whose jails are those of the roles, all with one log."""
    import shutil

    from faults.clock import Clocked
    from faults.host import Host

    host = Host(folder / "host")
    usual = {"enabled": "true", "logpath": host.log, "usedns": "no", "backend": "polling"}
    for role, name in ROLES.items():
        shutil.copy(ROOT / f"roles/{role}/filter.d/{name}.conf", host.etc / "filter.d")
    host.configure(**{name: {**usual, "filter": name, "port": "22"} for name in ROLES.values()})
    return Clocked(host, 1792890000.0)


TARGETS = {"socket": _socket, "configuration": _configuration, "lines": _lines}
"""What takes text from outside: requests of the control socket, configurations, log lines."""


def main(target: str, folder: str, *flags: str) -> None:
    """Fuzz; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["stockade_agent"]):
        run = TARGETS[target](Path(folder))
        run(SEEDS[target]()[0])  # commands are imported when they are called
    atheris.Setup(["guided", *flags], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
