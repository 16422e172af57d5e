# SPDX-License-Identifier: MIT
"""What befalls the ledger's file: power cuts, damage, a full disk, a file system read-only."""

import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.cost import Failed, until
from faults.host import Host, failure, kernel, seeded
from faults.kills import attack, same, verdict
from faults.rows import Broken, Row
from stockade_agent.control.protocol import JailStatus


def power(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield what an agent makes of copies of the ledger that were taken in the midst of writing.

    The agent is stopped (SIGSTOP) at random moments, or when it has just begun to write; WAL and
    main file are copied as they are, and half of the time the WAL is cut at a random byte, as a
    power cut may leave it. Who goes on from a copy with the same log ends where the run ended.
    """
    times = 6 if small else 60
    chance = seeded("power")
    wrong: list[str] = []
    copies: list[Path] = []
    with Host(folder / "host") as host:
        host.start()
        over = threading.Event()
        writer = threading.Thread(
            target=attack, args=(host.log, chance.random(), over, 0.001), daemon=True
        )
        writer.start()
        for n in range(times):
            time.sleep(chance.uniform(0.05, 0.4))
            if n % 3:
                _await_write(host)
            host.signal(signal.SIGSTOP)
            copies.append(shutil.copytree(host.state, folder / f"copy{n}"))
            host.signal(signal.SIGCONT)
            if n % 2:
                wal = copies[n] / "ledger.sqlite3-wal"
                data = wal.read_bytes() if wal.exists() else b""
                wal.write_bytes(data[: chance.randrange(len(data) + 1)])
        over.set()
        writer.join()
        right = host.until_quiet().jails[0]
        truth = {ban.id: ban.at for ban in right.bans}
        text = host.said()
        host.stop()
    # What the whole run did, in its order: any state that it was in is one of these sets.
    order = [line.split()[-1] for line in text.splitlines() if "] Ban " in line]
    fewest = 0
    for n, copy in enumerate(copies):
        with Host(folder / "again") as again:
            shutil.rmtree(again.state)
            shutil.copytree(copy, again.state)
            try:
                again.start()
                status = again.status()
            except Broken as error:
                wrong.append(f"copy {n}: {error}")
                continue
            found = {ban.id for ban in status.jails[0].bans}
            if found != set(order[: len(found)]):
                wrong.append(f"copy {n}: {len(found)} bans are no prefix of what was banned")
            invented = [ban.id for ban in status.jails[0].bans if truth.get(ban.id) != ban.at]
            wrong += [f"copy {n}: {who} was never banned so" for who in invented]
            if not n % 2 and status.faults:
                wrong.append(f"copy {n}: {status.faults[0]}")
            if not n % 2 and len(found) < fewest:
                wrong.append(f"copy {n}: {len(found)} bans, an earlier one had {fewest}")
            fewest = max(fewest, len(found)) if not n % 2 else fewest
            again.stop()
        with Host(folder / "again", options={"logpath": host.log}) as again:
            again.log = host.log
            again.start()
            wrong += [f"copy {n}: {what}" for what in _unlike(right, again.until_quiet().jails[0])]
            again.stop()
    row = Row.broken(
        "power cut in the midst of writing (half of the time the WAL torn)",
        wrong,
        f"{times} copies, up to {fewest} of {len(order)} bans in one; in the end"
        f" {right.failed_total:,} failures",
    )
    row.others = {
        "fail2ban": "synchronous=OFF, journal in memory: a power cut may corrupt its database",
    }
    yield row


def _await_write(host: Host) -> None:
    """Return as soon as the ledger is written to."""
    paths = [host.state / f"ledger.sqlite3{suffix}" for suffix in ("", "-wal")]

    def stamps() -> list[tuple[int, int]]:
        found = (path.stat() for path in paths if path.exists())
        return [(status.st_size, status.st_mtime_ns) for status in found]

    before, end = stamps(), time.monotonic() + 5
    while stamps() == before and time.monotonic() < end:
        pass


def _unlike(right: JailStatus, jail: JailStatus) -> Iterator[str]:
    """Yield what a jail has other than one that did the same without a fault."""
    for what in ("failed_total", "banned_total", "failed_now"):
        one, other = getattr(right, what), getattr(jail, what)
        if one != other:
            yield f"{what} {other} instead of {one}"
    expected, found = verdict(right), verdict(jail)
    for who in expected.keys() | found.keys():
        if who not in expected or who not in found or not same(expected[who], found[who]):
            yield f"{who}: {found.get(who)} instead of {expected.get(who)}"


def corrupt(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield what the agent makes of a ledger with flipped bytes, or a part of it."""
    seeds = 6 if small else 100
    wrong: list[str] = []
    silent: list[str] = []
    invented: list[str] = []
    kept: list[int] = []
    with Host(folder / "host") as host:
        host.start()
        made = {f"198.51.{n >> 8}.{n & 255}" for n in range(2000)}
        host.ask("ban", "sshd", *sorted(made))
        host.stop()
        host.start()
        host.stop()
    for n in range(seeds):
        chance = seeded(f"corrupt {n}")
        with Host(folder / f"seed{n}") as again:
            shutil.rmtree(again.state)
            shutil.copytree(host.state, again.state)
            kind = damage(again.ledger, chance)
            try:
                again.start()
                again.write(*[failure("192.0.2.200")] * 5)
                until(lambda: "192.0.2.200" in again.banned(), 20, "a ban")
                status = again.status()
                found = {ban.id for ban in status.jails[0].bans} - {"192.0.2.200"}
                again.stop()
                again.start()
                if "192.0.2.200" not in again.banned():
                    wrong.append(f"seed {n} ({kind}): the new ban was not kept")
                again.stop()
            except (Broken, Failed) as error:
                wrong.append(f"seed {n} ({kind}): {error}")
                continue
            if "Traceback" in again.said():
                wrong.append(f"seed {n} ({kind}): {again.tail()}")
            kept.append(len(found & made))
            invented += [f"seed {n} ({kind}): {who}" for who in found - made]
            words = ("set aside", "was empty", "are damaged")
            if made - found and not any(word in again.said() for word in words):
                silent.append(f"seed {n} ({kind}): {len(made - found)} bans")
        shutil.rmtree(again.folder)
    row = Row.broken(
        "corrupt ledger (bytes flipped, zeroed, cut): does not start, or ban, or keep",
        wrong,
        f"{seeds} seeds; of {len(made):,} bans a median of {sorted(kept)[len(kept) // 2]:,} saved",
    )
    yield row
    yield Row.broken("corrupt ledger: bans lost without a word", silent, f"{seeds} seeds")
    yield Row.broken("corrupt ledger: addresses banned that never were", invented, f"{seeds} seeds")


def damage(path: Path, chance: random.Random) -> str:
    """Damage a file, and return how."""
    content = bytearray(path.read_bytes())
    kind = chance.choice(("flipped", "zeroed", "cut", "noise", "empty", "head"))
    place = chance.randrange(len(content))
    if kind == "flipped":
        for _ in range(chance.choice((1, 10, 100, 1000))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif kind == "zeroed":
        end = min(len(content), place + 4096)
        content[place:end] = bytes(end - place)
    elif kind == "cut":
        del content[place:]
    elif kind == "noise":
        content[place : place + 4096] = chance.randbytes(len(content[place : place + 4096]))
    elif kind == "empty":
        del content[:]
    else:
        length = chance.randrange(1, 100)
        content[:length] = chance.randbytes(length)
    path.write_bytes(content)
    return kind


def full(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield what the agent does when there is no room for its ledger, and when there is again."""
    with _disk(folder / "disk") as host, _well(host, small=small) as (addresses, wrong):
        with _filled(host.state):
            _attacked(host, addresses, wrong)
        healed = _healed(host, wrong)
    yield Row.broken(
        "full disk under the ledger: bans missed, not said, or forgotten once it healed",
        wrong,
        f"{len(addresses)} bans meanwhile, healed {healed:.0f} s after there was room",
    )


def readonly(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield the same for a start on a file system that is read-only, as after a damaged boot."""
    with _disk(folder / "disk") as host, _well(host, small=small) as (addresses, wrong):
        host.stop()
        subprocess.run(("mount", "-o", "remount,ro", str(host.state)), check=True)
        host.start()
        if "192.0.2.1" not in kernel():
            wrong.append("the start let 192.0.2.1 go, whose ban could still be read")
        _attacked(host, addresses, wrong)
        subprocess.run(("mount", "-o", "remount,rw", str(host.state)), check=True)
        healed = _healed(host, wrong)
    yield Row.broken(
        "read-only file system at the start: bans missed, not said, or forgotten",
        wrong,
        f"{len(addresses)} bans meanwhile, healed {healed:.0f} s after it could be written",
    )


@contextmanager
def _disk(place: Path) -> Iterator[Host]:
    """Give a host whose ledger is on a file system of 1 MB of its own."""
    place.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)), check=True)
    try:
        settings = {"dbfile": place / "ledger.sqlite3"}
        with Host(place.parent / "host", firewall="nftables", settings=settings) as host:
            host.state, host.ledger = place, place / "ledger.sqlite3"
            yield host
    finally:
        subprocess.run(("umount", "-l", str(place)), check=True)


@contextmanager
def _well(host: Host, *, small: bool) -> Iterator[tuple[list[str], list[str]]]:
    """Start with one ban; afterwards see that a kill forgets nothing of what came then."""
    addresses = [f"198.51.100.{n}" for n in range(10 if small else 100)]
    wrong: list[str] = []
    host.start()
    host.write(*[failure("192.0.2.1")] * 5)
    host.until_quiet()
    until(lambda: "192.0.2.1" in kernel(), 20, "a ban before the fault")
    yield addresses, wrong
    # At once, when nothing but the healing has written anything; and after a further failure.
    for line in ("", failure("192.0.2.2")):
        host.write(*filter(None, [line]))
        before = (host.until_quiet() if line else host.status()).jails[0]
        host.kill()
        host.start()
        after = host.until_quiet().jails[0]
        kept = {ban.id for ban in after.bans} & kernel()
        wrong += [f"{who} lost" for who in {"192.0.2.1", *addresses} - kept]
        wrong += [f"after a kill {what}" for what in _unlike(before, after)]
    if "Traceback" in host.said():
        wrong.append(host.tail())
    host.stop()


def _attacked(host: Host, addresses: list[str], wrong: list[str]) -> None:
    for address in addresses:
        host.write(*[failure(address)] * 5, *[failure(address.replace("100", "101"))] * 2)
    with _noted(wrong):
        until(lambda: {"192.0.2.1", *addresses} <= kernel(), 30, "bans during the fault")
    with _noted(wrong):
        until(lambda: _unwell(host), 30, "a word in status")


def _healed(host: Host, wrong: list[str]) -> float:
    began = time.monotonic()
    with _noted(wrong):
        until(lambda: not _unwell(host), 60, "healing")
    return time.monotonic() - began


def _unwell(host: Host) -> bool:
    return any("ledger" in fault for fault in host.status().faults)


@contextmanager
def _noted(wrong: list[str]) -> Iterator[None]:
    try:
        yield
    except (Broken, Failed) as error:
        wrong.append(str(error))


@contextmanager
def _filled(place: Path) -> Iterator[None]:
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    yield
    filler.unlink()
