# SPDX-License-Identifier: MIT
"""Does a pause hold whatever befalls the ledger, its own file, or the disk they are on?"""

import io
import os
import subprocess
import sys
import textwrap

import pytest

from agent import piped
from stockade_agent.errors import ControlError
from stockade_agent.log import Log
from stockade_agent.model import Ban, target
from stockade_agent.pausefile import PauseFile
from stockade_agent.pauses import EVERY, Pause


NOW = piped.NOW
JAILS = """\
[DEFAULT]
enabled = true
maxretry = 1
findtime = 300
bantime = 6000
failregex = ^failed from <HOST>$
logpath = {folder}/auth.log
action = nftables[port=22]
[sshd]
[web]
"""


class Scene:
    """The file of pauses, and who reads it."""

    def __init__(self, folder):
        self.path, self.said = folder / "ledger.paused", io.StringIO()

    def file(self):
        return PauseFile(str(self.path), Log(self.said, prefixed=False))

    def read(self):
        return self.file().read()

    def write(self, **pauses):
        file = self.file()
        file.write(pauses)
        return file


PAUSE, ALL = Pause(NOW + 60, NOW, "anna"), Pause(None, NOW)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_the_file_is_there_while_anything_is_paused(scene):
    """Nobody else than its owner reads it."""
    file = scene.write(sshd=PAUSE, web=ALL)
    assert 0o600 == scene.path.stat().st_mode & 0o777
    assert {"sshd": PAUSE, "web": ALL} == scene.read()
    file.write({"web": ALL})
    assert {"web": ALL} == scene.read()

    file.write({})
    assert [] == list(scene.path.parent.iterdir())
    assert {} == scene.read()
    assert "" == scene.said.getvalue()


def test_it_is_written_when_pauses_change(scene):
    """Not with each ban of a surge."""
    file = scene.write(sshd=PAUSE)
    scene.path.unlink()
    file.write({"sshd": PAUSE})
    assert not scene.path.exists()
    file.write({"sshd": ALL})
    assert {"sshd": ALL} == scene.read()


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 40, b"{}", b"00000000 {}\n", b"[1]", b"\xff\xfe", b"x" * 2_000_000, b"7 [" * 9],
)
def test_what_cannot_be_read_pauses_all(scene, data):
    """Somebody paused something: until he resumes nobody is banned, and it is said why."""
    scene.path.write_bytes(data)
    os.utime(scene.path, (NOW, NOW))
    file = scene.file()
    assert {EVERY: ALL} == file.read()
    assert file.fault.endswith("; taken for a pause of all jails")
    assert f"pauses: {scene.path} cannot be read: " in scene.said.getvalue()

    file.write({})
    assert "" == file.fault
    assert not scene.path.exists()


def test_no_bit_makes_it_say_something_else(scene):
    """Whatever one changes, and wherever it ends: the same pause, or one of all jails."""
    scene.write(sshd=PAUSE)
    whole = scene.path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        for bit in range(8):
            damaged[place] = whole[place] ^ 1 << bit
            scene.path.write_bytes(damaged)
            assert [None] == [pause.until for pause in scene.read().values()], damaged
        scene.path.write_bytes(whole[:place])
        assert EVERY in scene.read()


def test_a_directory_in_its_place(scene):
    """It cannot be replaced; the pause holds, and who resumes is told what is left."""
    scene.path.mkdir()
    file = scene.file()
    assert [EVERY] == list(file.read())
    file.write({})
    assert "Is a directory; a restart would pause bans again" in file.fault
    scene.path.rmdir()
    file.heal()
    assert "" == file.fault


def test_where_nothing_can_be_written(scene):
    """That it would not hold over a restart is said, and it is tried again."""
    scene.path = scene.path.parent / "no" / "such"
    scene.path.parent.write_text("")
    file = scene.write(sshd=PAUSE)
    assert file.fault.endswith("; a restart would resume bans")
    scene.path.parent.unlink()
    file.heal()
    assert "" == file.fault
    assert {"sshd": PAUSE} == scene.read()


def test_without_a_file():
    """A ledger in memory has nothing beside it."""
    file = PauseFile("", Log(io.StringIO()))
    file.write({"sshd": PAUSE})
    assert {} == file.read()
    assert "" == file.fault


def test_what_was_lifted_stays_so_once_the_pause_is_over(scene):
    """A ledger that can be read again only then has it still."""
    file = scene.file()
    file.lift(["sshd"], NOW)
    file.write({"sshd": PAUSE})
    again = scene.file()
    again.read()
    for each in (file, again):
        each.write({})
        assert [True, False, False] == [
            each.lifted(Ban(jail, "192.0.2.7", target("192.0.2.7"), at, 600))
            for jail, at in (("sshd", NOW - 1), ("sshd", NOW), ("web", NOW - 1))
        ]


@pytest.mark.parametrize(
    "option, left", [("full", "pause all jails"), ("read-only", "resume bans")]
)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")
def test_a_disk_that_takes_nothing(tmp_path, option, left):
    """A full one has room for a name, which pauses all; a read-only one for nothing."""
    script = textwrap.dedent("""
        import errno, io, os, subprocess, sys
        from stockade_agent.log import Log
        from stockade_agent.pausefile import PauseFile
        from stockade_agent.pauses import Pause
        folder, option = sys.argv[1:]
        path, said = f"{folder}/ledger.paused", Log(io.StringIO())
        def fill():
            try:
                with open(f"{folder}/filler", "wb", buffering=0) as filler:
                    while filler.write(b"x" * 4096):
                        pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
        def mount(how):
            subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)
        fill() if option == "full" else mount("ro")
        file = PauseFile(path, said)
        file.write({"sshd": Pause(None, 1.0)})
        print(file.fault)
        assert not os.path.exists(f"{path}.new")
        print(list(PauseFile(path, said).read()))
        open(f"{folder}/filler", "w").close() if option == "full" else mount("rw")
        file.heal()
        print(file.fault or "well", list(PauseFile(path, said).read()))
        mount("ro")
        file.write({})
        print(file.fault)
    """)
    mount = f'mount -t tmpfs -o size=64k none {tmp_path} && exec {sys.executable} -c "$0" "$@"'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["unshare", "-m", "sh", "-c", mount, script, str(tmp_path), option]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    first, then, healed, ended = done.stdout.splitlines()

    assert first.endswith(f"; a restart would {left}")
    assert then == ("['']" if option == "full" else "[]")
    assert "well ['sshd']" == healed
    assert ended.endswith("Read-only file system; a restart would pause bans again")


# ---- the agent


@pytest.fixture
def agent(tmp_path, alone):
    made = piped.Agent(tmp_path, JAILS).start()
    yield made
    made.end()


def damage(agent, how):
    """Let the ledger be damaged while no agent runs."""
    ledger = agent.folder / "l"
    agent.end()
    for side in ("l-wal", "l-shm"):
        (agent.folder / side).unlink(missing_ok=True)
    if how == "bytes":
        ledger.write_bytes(os.urandom(20_000))
    elif how == "gone":
        ledger.unlink()
    else:
        ledger.unlink()
        ledger.mkdir()


@pytest.mark.parametrize("how", ["bytes", "gone", "directory"])
def test_no_damage_to_the_ledger_ends_a_pause(agent, how):
    """Whoever panicked sees it in the status, and nobody is banned until he resumes."""
    agent.ask("panic")
    damage(agent, how)
    agent.start()

    agent.fail("192.0.2.7")
    assert set() == agent.kernel()
    assert agent.jail().paused
    assert "" in [pause.jail for pause in agent.pipe.status(agent.now).pauses]
    agent.ask("resume")
    agent.fail("192.0.2.7")
    assert {"192.0.2.7"} == agent.kernel()
    agent.end()
    agent.start()
    assert not agent.jail().paused


def test_damage_to_both(agent):
    """A pause of one jail that cannot be read is one of all, which the status says."""
    agent.ask("panic", ids=("web",))
    (agent.folder / "l.paused").write_text("?")
    damage(agent, "bytes")
    agent.start()

    agent.fail("192.0.2.7")
    assert set() == agent.kernel()
    [fault] = [one for one in agent.pipe.status(agent.now).faults if one.startswith("pauses:")]
    assert fault.endswith("; taken for a pause of all jails")


def test_of_file_and_ledger_the_longer_one_holds(agent):
    """An agent that had no such file noted a pause in the ledger alone; the file learns it."""
    agent.ask("panic", "60")
    for text in ('{"paused": {"web": null}, "surges": {}}', '{"paused": {"": 1}, "surges": {}}'):
        agent.pipe.records.note("brake", text)
        agent.end()
        agent.start()
    agent.pipe.records.note("brake", "")
    agent.end()
    agent.start()

    known = {pause.jail: pause.until for pause in agent.pipe.status(agent.now).pauses}
    assert {"": NOW + 60, "web": None} == known


def test_a_pause_that_is_over_takes_the_file_along(agent):
    """Damage to what nobody waits for any more must not pause anything."""
    agent.ask("panic", "60")
    agent.now += 60
    assert not agent.jail().paused
    assert not (agent.folder / "l.paused").exists()


def test_bans_that_a_panic_lifted_stay_lifted(agent):
    """Also where the ledger could not be written then; what was banned by hand since is banned."""
    agent.fail("192.0.2.7", "192.0.2.8")
    agent.pipe.records.problem = "full"  # as after a write that failed
    agent.now += 1
    agent.ask("panic")
    assert set() == agent.kernel()
    assert {"192.0.2.7", "192.0.2.8"} == agent.noted()

    agent.end()
    agent.start()
    assert set() == agent.kernel() == agent.noted()
    agent.ask("ban", jail="sshd", ids=("192.0.2.9",))
    agent.end()
    agent.start()
    assert {"192.0.2.9"} == agent.kernel()


def test_who_panics_is_told_that_it_would_not_last(agent):
    """Bans are lifted all the same; the agent tries on, and says so until it can."""
    agent.fail("192.0.2.7")
    (agent.folder / "l.paused.new").mkdir()
    with pytest.raises(ControlError, match=r"paused, but: .*; a restart would pause all jails"):
        agent.ask("panic")
    assert set() == agent.kernel()
    assert [f"pauses: {agent.pipe.brake.file.fault}"] == list(agent.pipe.status(agent.now).faults)
    (agent.folder / "l.paused.new").rmdir()
    agent.pipe.heal_ledger(agent.now)
    assert () == tuple(agent.pipe.status(agent.now).faults)
    agent.end()
    agent.start()
    assert agent.jail().paused
