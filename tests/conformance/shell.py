# SPDX-License-Identifier: MIT
"""The commands that fail2ban's own tests expect of stock actions, looked for in ours.

    python -m conformance.shell [VERSION | DIR ...]

They are read from servertestcase.py, which Debian's packages have, too. Actions that our firewall
stands for are rendered as they would run where somebody has rewritten them. What a ban brings is in
variables with us: it is put in their place before the texts are compared.
"""

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from conformance import literals, oracle
from conformance.actions import Names
from conformance.samples import Tree
from conformance.tally import Difference, Tally, Tell, by_hand
from stockade_agent.config import duration, read
from stockade_agent.firewall.actions import Actions
from stockade_agent.firewall.pool import Pool
from stockade_agent.firewall.process import Ended, Shell
from stockade_agent.firewall.runs import in_shell
from stockade_agent.firewall.tags import Facts
from stockade_agent.model import Ban, target
from stockade_agent.specs import JailSpec


FILE = "servertestcase.py"
TEST, TABLE = "testCheckStockCommandActions", "testJailsActions"
NOW = 1_700_000_000.0
FOUR, SIX = "192.0.2.1", "2001:db8::"

_VARIABLE = re.compile(r"""\$\{(\w+):\+"\$\{\1\}"\}|'"\$\{(\w+)\}"'|\$\{(f2b\w+)\}""")


class Recorder(Shell):
    """Runs nothing, and remembers what it should have run."""

    def __init__(self) -> None:
        super().__init__(time.monotonic)
        self.text = ""

    def run(self, text: str, variables: Mapping[str, bytes], *_: Any) -> Ended:
        """Remember a command, each line behind a blank and in backquotes as in fail2ban's log."""
        plain = _VARIABLE.sub(lambda m: variables[m[1] or m[2] or m[3]].decode(), text)
        self.text += "".join(f" `{line}`\n" for line in plain.split("\n"))
        return Ended(ok=True)


class Course:
    """The actions of one jail, led through what the test does."""

    def __init__(self, jail: JailSpec) -> None:
        self._jail, self._shell, self._pool = jail, Recorder(), Pool(time.monotonic)
        run = in_shell(self._shell)
        self._actions = Actions(jail.name, jail.actions, self._pool, run, Names(), seconds=duration)
        self._facts = Facts(
            jail=jail.name,
            now=NOW,
            bantime=600,
            banned=0,
            banned_total=0,
            found=0,
            found_total=0,
        )

    def steps(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each step, and the commands it led to."""
        actions, facts = self._actions, self._facts
        four, six = self._ban(FOUR), self._ban(SIX)
        for name, step in (
            ("start", lambda: actions.start(facts)),
            ("ip4-ban", lambda: actions.ban(four, facts)),
            ("ip4-unban", lambda: actions.unban(four, facts)),
            ("ip6-ban", lambda: actions.ban(six, facts)),
            ("ip6-unban", lambda: actions.unban(six, facts)),
            ("check", lambda: actions.check(facts)),
            ("", lambda: (actions.ban(four, facts), actions.ban(six, facts))),
            ("flush", lambda: actions.flush([four, six], facts)),
            ("stop", lambda: actions.stop([], facts)),
        ):
            self._shell.text = ""
            step()
            if not self._pool.drain(60):
                raise RuntimeError(f"{self._jail.name}: {name} does not end")
            self._pool.results()
            yield name, self._shell.text
        self._pool.close()

    def _ban(self, who: str) -> Ban:
        return Ban(
            jail=self._jail.name,
            id=who,
            address=target(who),
            at=NOW,
            bantime=600,
            failures=0,
            count=0,
            matches=(),
            data={},
            restored=False,
            prolonged=False,
        )


def wanted(step: str, tests: Mapping[str, tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """Return what a step's commands must have in them, and what they must not."""

    def of(*keys: str) -> list[str]:
        return [text for key in keys for text in tests.get(key, ())]

    common = "*-start" if "*-start" in tests else "*-start-stop-check"
    if step == "start":
        present = of("start")
        return present, [] if present else of("ip4-start", "ip6-start")
    if step in ("ip4-ban", "ip6-ban"):
        one, other = ("ip4", "ip6") if step == "ip4-ban" else ("ip6", "ip4")
        began = of(common, f"{one}-start") if f"{one}-start" in tests else []
        return began + of(step), of(f"{other}-start", other)
    if step in ("ip4-unban", "ip6-unban"):
        return of(step), of("ip6" if step == "ip4-unban" else "ip4")
    if step == "check":
        return of("*-start-stop-check", "ip4-check", "ip6-check"), []
    return of("*-start-stop-check", step) if step == "stop" else of(step), []


def run(root: Path, tell: Tell) -> Tally:
    """Return how many of the expected commands are there, and of the excluded ones are not."""
    table = literals.assigned(Tree(root).tests / FILE, TEST, TABLE)
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        jails = _read(oracle.stock(root.resolve()), Path(name), table)
        for jail, action, tests in table:
            kind = action.partition("[")[0]
            for step, text in Course(jails[jail]).steps():
                present, absent = wanted(step, tests)
                tally.total += len(present) + len(absent)
                lacks = [f"lacks {one}" for one in present if one not in text]
                lacks += [f"has {one!r}" for one in absent if one in text]
                for fault in lacks:
                    place = f"{jail} {step}"
                    tally.differences.append(
                        Difference(f"{kind} {step}", f"{place}: {fault}: {text}")
                    )
        tally.notes.append(f"{len(table)} actions")
    return tally


def _read(stock: Path, folder: Path, table: Any) -> dict[str, JailSpec]:
    (folder / "filter.d").mkdir()
    (folder / "action.d").symlink_to(stock / "action.d")
    text = (
        "[DEFAULT]\nenabled = true\nfailregex = ^<HOST>\nbackend = polling\nlogpath = /dev/null\n"
    )
    text += "".join(f"[{jail}]\naction = {action}\n" for jail, action, _ in table)
    (folder / "jail.conf").write_text(text)
    return {jail.name: jail for jail in read(str(folder)).jails}


if __name__ == "__main__":
    by_hand("shell", run)
