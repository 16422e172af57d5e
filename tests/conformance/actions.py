# SPDX-License-Identifier: MIT
"""Do our actions call the same tools with the same words and input as fail2ban's?

    python -m conformance.actions [VERSION | DIR ...]

DIR is an unpacked package of Debian or a git tree of fail2ban.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from agent.firewall.names import Names
from conformance import courses, oracle, stubs
from conformance.tally import Difference, Tally, by_hand
from stockade_agent.config import duration, read
from stockade_agent.firewall.actions import Actions
from stockade_agent.firewall.pool import Pool
from stockade_agent.firewall.process import Shell
from stockade_agent.firewall.runs import in_shell
from stockade_agent.firewall.tags import Facts
from stockade_agent.model import Ban, target


JUDGE = Path(__file__).with_name("judge_actions.py")


def theirs(package, folder, asked):
    """Return what fail2ban does in each of the courses."""
    library = package / "usr/lib/python3/dist-packages"
    done = subprocess.run(
        (oracle.python(), JUDGE),
        input=json.dumps({"config": str(folder / "config"), "courses": asked}),
        env={
            **stubs.environment(folder),
            "PYTHONPATH": str(library if library.is_dir() else package),
            "PYTHONWARNINGS": "ignore",
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    return json.loads(done.stdout)


def ours(folder, asked):
    """Return what we do in each of the courses, in the same form."""
    specs = {jail.name: jail for jail in read(str(folder / "config")).jails}
    return [Course(folder, specs, course).steps() for course in asked]


class Course:
    """A jail's actions, led through the steps."""

    def __init__(self, folder, specs, asked):
        self.folder, self.specs, self.asked = folder, specs, asked
        self.jail = specs[asked["jail"]]
        self.pool = Pool(time.monotonic)
        shell = Shell(time.monotonic, environment=stubs.environment(folder))
        self.actions = Actions(
            self.jail.name, self.jail.actions, self.pool, in_shell(shell), Names(), seconds=duration
        )
        self.bans = {}

    def facts(self):
        return Facts(
            jail=self.jail.name,
            now=courses.NOW,
            bantime=self.jail.bantime,
            banned=len(self.bans),
            banned_total=len(self.bans),
            found=2,
            found_total=9,
        )

    def steps(self):
        stubs.clean(self.folder)
        answers = []
        for word, *data in self.asked["steps"]:
            if word == "fail":
                (self.folder / "fail").write_text(data[0])
                continue
            self.step(word, *data)
            assert self.pool.drain(60)
            results = self.pool.results()
            answers.append(
                {
                    "calls": stubs.recorded(self.folder),
                    "files": stubs.files(self.folder),
                    "errors": [str(r) for r in results if r.problem or r.lost or not r.ok],
                }
            )
        self.pool.close()
        return answers

    def step(self, word, data=None):
        if word in ("ban", "reban", "prolong"):
            self.bans[data["id"]] = ban = self.ban(data, prolonged=word == "prolong")
            if word == "reban":
                self.actions.reban([ban], self.facts())
            else:
                self.actions.ban(ban, self.facts())
        elif word == "unban":
            if data["id"] in self.bans:
                self.actions.unban(self.bans.pop(data["id"]), self.facts())
        elif word in ("flush", "stop"):
            bans = [*self.bans.values()]
            self.bans.clear()
            getattr(self.actions, word)(bans, self.facts())
        elif word == "reload":
            jail = self.specs[data or self.jail.name]
            self.actions.reload(jail.actions, self.bans.values(), self.facts())
        else:
            getattr(self.actions, word)(self.facts())

    def ban(self, data, *, prolonged):
        return Ban(
            jail=self.jail.name,
            id=data["id"],
            address=target(data["id"]),
            at=data["time"],
            bantime=data["bantime"],
            failures=data["failures"],
            count=data["count"],
            matches=tuple(data["matches"]),
            data=data["data"],
            restored=data["restored"],
            prolonged=prolonged,
        )


def differences(asked, expected, got):
    """Return how many steps were compared, and those that differ."""
    total, lines = 0, []
    for course, theirs_, ours_ in zip(asked, expected, got, strict=True):
        steps = [step for step in course["steps"] if step[0] != "fail"]
        for step, one, other in zip(steps, theirs_, ours_, strict=True):
            total += 1
            wrong = bool(one["errors"]) != bool(other["errors"])
            if (one["calls"], one["files"]) == (other["calls"], other["files"]) and not wrong:
                continue
            place = f"{course['jail']}, {course['name']}, {step[0]}"
            words = f"\n    fail2ban {one!r}\n    ours     {other!r}"
            found = rule(course, step[0], one, other)
            lines.append(Difference(found or place, f"{place}{words}" if found else words))
    return total, lines


def rule(course, step, one, other):
    """Return what docs/conformance.md calls the difference, in its list; "" for nothing."""
    if step == "flush" and one["calls"] == []:
        # It leaves the bans in the firewall, we do not.
        again = other["calls"][:1] != [] and other["calls"][0].startswith("ipset\0flush\0")
        return "second-flush" if again else ""
    # It stops an action without families and forgets to start it again.
    unsound = course["jail"] in ("one-plain", "one-flush-plain")
    return "no-start" if unsound and course["name"] in ("check-always", "lost") else ""


def _compare(package, asked, further):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jails = courses.plant(package, folder, further)
        planned = [{"now": courses.NOW, **course} for course in asked(jails)]
        return differences(planned, theirs(package, folder, planned), ours(folder, planned))


def stock(package, variants=tuple(courses.VARIANTS)):
    """Compare every stock action: a long life in each variant, and shorter ones in the first."""

    def asked(jails):
        for jail in jails:
            variant = jail.rpartition("-")[2]
            if variant in variants:
                yield {"jail": jail, "name": "life", "steps": courses.LIFE}
            if variant == variants[0]:
                yield {"jail": jail, "name": "only-six", "steps": courses.ONLY_SIX}
                yield {"jail": jail, "name": "nothing", "steps": courses.NOTHING}

    return _compare(package, asked, {})


def kinds(package):
    """Compare actions of every kind while their commands fail in every way."""

    def asked(_):
        for kind in courses.KINDS:
            for name, steps in {"life": courses.LIFE, **courses.FAILING}.items():
                yield {"jail": f"{kind}-plain", "name": name, "steps": steps}

    return _compare(package, asked, courses.KINDS)


def places(package):
    """Compare what harmless values become in every place where they may stand."""

    def asked(_):
        yield {"jail": "quoting-plain", "name": "harmless", "steps": courses.HARMLESS}

    return _compare(package, asked, {"quoting": courses.QUOTING})


def run(root, tell):
    """Return what comes of all steps: of the stock actions, the failing kinds, and the places."""
    tally = Tally()
    for part in (stock, kinds, places):
        total, found = part(root)
        tally.total += total
        tally.differences += [Difference(key, f"{part.__name__}: {text}") for key, text in found]
        tally.notes.append(f"{part.__name__} {total - len(found)}/{total}")
    return tally


if __name__ == "__main__":
    by_hand("actions", run)
