# SPDX-License-Identifier: MIT
"""Nonsense for whatever takes text from outside: control socket, configuration, log lines."""

import contextlib
import io
import json
import random
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from bench.cost import Failed
from conformance.fetch import ROOT
from faults import guided
from faults.host import SEED, Host, failure, seeded
from faults.rows import Broken, Row
from stockade_agent import answers, cli, options


SECONDS = {"blind": 60.0, "guided": 160.0}
"""Of each of three kinds, 11 minutes in all; with ``small`` a fiftieth."""
GROWTH = 24.0
"""MiB that an agent may grow while nonsense is poured over it."""
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\udc80-\udcff]")
"""What a terminal might obey, and what is no text."""
WORDS = (
    *(*answers._ANSWERS, "reload", "stop", "", "\0", "status "),
    *("sshd", "all", "192.0.2.7", "::ffff:192.0.2.7", "0.0.0.0/0", "::/0", "198.51.100.0/24"),
    *("a" * 999, "\ud800", "\x1b[2J", "$(id)", "../../etc", "%s%n", "<ip>", "-1", "1e999", "None"),
)
"""Every command that the agent answers, and what clients might put beside it."""
OPTIONS = (*options._OF_AGENT, *options._OF_JAIL, *options._CHANGES, *WORDS)
VALUES = (None, True, 0, -1, 10**40, 1e308, [], {}, [[]], {"a": {"b": []}}, "x")


def fuzz(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield a row each of socket, configuration and lines, given to the agent from outside."""
    seconds = SECONDS["blind"] / 50 if small else SECONDS["blind"]
    yield _row("control socket", *_requests(folder / "socket", seconds))
    yield _row("configuration reader", *_configurations(folder / "configuration", seconds))
    yield _row("log lines", *_lines(folder / "lines", seconds))


def guide(_folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield the same where what its code does with them guides what comes next."""
    seconds = SECONDS["guided"] / 50 if small else SECONDS["guided"]
    for target in guided.TARGETS:
        wrong, tried = guided.fuzzed(target, seconds, SEED)
        yield Row.broken(
            f"fuzzing of {target} guided by coverage: exceptions, hangs, raw text", wrong, tried
        )


def _row(what: str, wrong: list[str], tried: str) -> Row:
    return Row.broken(f"fuzzing of the {what}: crashes, wrong answers, growth", wrong, tried)


def raw(data: bytes) -> str:
    """Return the first thing in it that a terminal might obey, or ""."""
    found = RAW.search(data.decode("utf-8", "surrogateescape"))
    return repr(found[0]) if found else ""


# ---- control socket


def _requests(folder: Path, seconds: float) -> tuple[list[str], str]:
    chance, wrong, count = seeded("requests"), [], 0
    with Host(folder) as host:
        host.start()
        host.ask("status")
        before, end = host.rss(), time.monotonic() + seconds
        silent = []
        while time.monotonic() < end and not wrong:
            for _ in range(20):
                count += 1
                line = request(chance)
                try:
                    answer = _answer(host.socket, line, chance)
                except OSError as error:
                    wrong.append(f"{line[:80]!r}: {error}")
                    break
                if not _is_answer(answer) and b"\n" in line:
                    wrong.append(f"{line[:80]!r} is answered by {answer[:80]!r}")
            # Some come and say nothing more, or half a line.
            silent.append(socket.socket(socket.AF_UNIX))
            silent[-1].connect(host.socket)
            silent[-1].send(b'{"command": "st')
            if len(silent) > 60:
                silent.pop(0).close()
        for one in silent:
            one.close()
        wrong += _unharmed(host, before)
    return wrong, f"{count:,} requests"


def request(chance: random.Random) -> bytes:
    """Return a line, or a piece of one, that a client might send."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 300)).replace(b"\n", b"") + b"\n"
    if kind == 1:
        return b"[" * chance.choice((10, 1000, 100_000)) + b"\n"
    if kind == 2:
        return b'{"command": "' + b"x" * chance.choice((10, 70_000, 1_100_000)) + b'"}\n'
    data: object = {
        "command": chance.choice((*WORDS, *VALUES)),
        "jail": chance.choice((*WORDS, *VALUES)),
        "ids": [chance.choice((*WORDS, *VALUES)) for _ in range(chance.randrange(4))],
        chance.choice(WORDS): chance.choice(VALUES),
    }
    if kind == 3:
        data = {
            "command": chance.choice(WORDS),
            "jail": chance.choice(("sshd", "", *WORDS)),
            "ids": chance.sample(WORDS, 3),
            "option": chance.choice(OPTIONS),
            "words": chance.sample(WORDS, chance.randrange(3)),
        }
    text = json.dumps(data).encode()
    if kind == 4:
        place = chance.randrange(len(text))
        text = text[:place] + chance.randbytes(2).replace(b"\n", b"") + text[place + 1 :]
    return text + b"\n"


def _answer(path: str, line: bytes, chance: random.Random) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(path)
        cut = chance.randrange(len(line)) if chance.random() < 0.2 else 0
        with contextlib.suppress(BrokenPipeError):  # refused before it was all sent
            client.sendall(line[:cut])
            client.sendall(line[cut:])
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while not answer.endswith(b"\n"):
                data = client.recv(1 << 16)
                if not data:
                    break
                answer += data
        return answer


def _is_answer(text: bytes) -> bool:
    if text.count(b"\n") != 1 or raw(text):
        return False
    answer = json.loads(text)
    return "result" in answer if answer["ok"] else isinstance(answer["error"], str)


def _unharmed(host: Host, before: float) -> list[str]:
    """Return what is wrong with an agent after all that."""
    if not host.alive():
        return [f"the agent ended: {host.tail()}"]
    try:
        status = host.status()
    except Broken as error:
        return [str(error)]
    wrong = [
        f"{jail.name} is {jail.state}: {jail.problem}"
        for jail in status.jails
        if "stopped" in jail.problem
    ]
    if "Traceback" in host.said():
        wrong.append(host.tail())
    found = raw((host.folder / "said").read_bytes())
    if found:
        wrong.append(f"raw {found} in the agent's own log")
    if host.rss() > before + GROWTH:
        wrong.append(f"from {before:.0f} to {host.rss():.0f} MiB")
    return wrong


# ---- configuration


def _configurations(folder: Path, seconds: float) -> tuple[list[str], str]:
    chance, wrong, count, refused = seeded("configurations"), [], 0, 0
    model = Host(folder / "model")
    sources = {path.relative_to(model.etc): path.read_bytes() for path in model.etc.rglob("*.conf")}
    sources[Path("jail.local")] = (ROOT / "roles/base/files/jail.conf").read_bytes()
    etc, end = folder / "etc", time.monotonic() + seconds
    (etc / "filter.d").mkdir(parents=True)
    with asked_once("check", str(etc)):
        while time.monotonic() < end and len(wrong) < 10:
            count += 1
            for name, content in sources.items():
                dirty = mutated(chance, content) if chance.random() < 0.5 else content
                (etc / name).write_bytes(dirty)
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                try:
                    code = cli.main(["check", str(etc)])
                except BaseException as error:  # noqa: BLE001 - whatever it is, we look for it
                    keep = ROOT / "build" / "faults" / f"configuration-{count}"
                    shutil.copytree(etc, keep, dirs_exist_ok=True)
                    wrong.append(f"{type(error).__name__}: {error} ({keep.relative_to(ROOT)})")
                    continue
            refused += code == 1
            text = said.getvalue()
            if code not in (0, 1) or (code and not text.strip()):
                wrong.append(f"check ends with {code}: {text[-100:]!r}")
            if "Traceback" in text or raw(text.encode("utf-8", "surrogateescape")):
                wrong.append(f"check says {text[-100:]!r}")
    return wrong, f"{count:,} configurations, {refused:,} refused"


@contextlib.contextmanager
def asked_once(*words: str) -> Iterator[None]:
    """Let a command line be parsed but once, however often the command is run."""
    parse = cli._asked
    found = parse(words)
    cli._asked = lambda _words: found
    try:
        yield
    finally:
        cli._asked = parse


def mutated(chance: random.Random, content: bytes) -> bytes:
    """Return a file with some lines, or bytes, that nobody would write."""
    lines = content.split(b"\n")
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(lines))
        kind, line = chance.randrange(8), lines[place]
        if kind == 0:
            lines[place] = line + chance.randbytes(chance.randrange(1, 20)).replace(b"\n", b"")
        elif kind == 1:
            lines[place] = (
                line
                + b" "
                + chance.choice((b"%(x)s", b"%(bantime)s", b"<x>", b"[", b"(", b"%", b"(?P<x>"))
            )
        elif kind == 2:
            key = line.partition(b"=")[0]
            words = (
                b"-1",
                b"1e999",
                b"9" * 400,
                b"\x00",
                b"%(__name__)s" * 9,
                b"a" * 9999,
                b"\xff\xfe",
                b"1y 2",
                b"(" * 99,
            )
            lines[place] = key + b"= " + chance.choice(words)
        elif kind == 3:
            lines.insert(place, chance.choice(lines))
        elif kind == 4:
            lines.insert(
                place,
                chance.choice(
                    (
                        b"[DEFAULT]",
                        b"[sshd]",
                        b"[x",
                        b"]",
                        b" more",
                        b"= 1",
                        b"[INCLUDES]\nbefore = jail.conf",
                    )
                ),
            )
        elif kind == 5:
            del lines[place]
            lines = lines or [b""]
        elif kind == 6:
            lines[place] = line.replace(b"=", chance.choice((b"", b"==", b"=\n ")), 1)
        else:
            lines[place] = line[: chance.randrange(len(line) + 1)]
    return b"\n".join(lines)


# ---- lines


def _lines(folder: Path, seconds: float) -> tuple[list[str], str]:
    chance, wrong, count = seeded("lines"), [], 0
    samples = [
        line
        for path in sorted((ROOT / "roles").glob("*/samples/*.log"))
        for line in path.read_bytes().splitlines()
        if line and not line.startswith(b"#")
    ]
    with Host(folder) as host:
        host.start()
        host.ask("status")
        before, end = host.rss(), time.monotonic() + seconds
        while time.monotonic() < end and not wrong:
            batch = [nonsense(chance, samples) for _ in range(300)]
            count += len(batch)
            with host.log.open("ab") as file:
                file.write(b"\n".join(batch) + b"\n")
            try:
                host.until_quiet(60)
                wrong += _unharmed(host, before)
            except (Broken, Failed) as error:
                wrong.append(str(error))
            if host.log.stat().st_size > 50_000_000:
                host.log.write_bytes(b"")
        if not wrong:
            host.write(*[failure("192.0.2.77")] * 5)
            host.until_quiet()
            wrong += [] if "192.0.2.77" in host.banned() else ["bans nobody any more"]
    return wrong, f"{count:,} lines"


def nonsense(chance: random.Random, samples: list[bytes]) -> bytes:
    """Return a line of bytes, or one of a sample with something in it."""
    kind = chance.randrange(8)
    if kind == 0:
        return chance.randbytes(chance.choice((1, 50, 5000)))
    if kind == 1 and chance.random() < 0.02:
        return chance.choice((b"\x00", b"a ", b"\xff")) * 1_200_000
    line = chance.choice(samples)
    if kind == 2:
        line = failure("192.0.2.1").encode()
    place = chance.randrange(len(line))
    dirt = chance.choice(
        (
            b"\x00",
            b"\x1b]0;x\x07",
            b"\xff\xfe",
            b"\xe2\x80\xae",
            b"\r",
            b"(" * 50,
            b" from " * 80,
            b"%",
            b"9" * 60,
        )
    )
    if kind < 6:
        return line[:place] + dirt + line[place + chance.randrange(2) :]
    return line[place:] + line[:place]
