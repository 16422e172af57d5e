# SPDX-License-Identifier: MIT
"""Do many hosts run side by side, none of them at the mercy of another?"""

import threading

import pytest

from stockade.errors import Refused, Unreachable
from stockade.model import Change, Facts, Host, HostResult, Manifest
from stockade.push import Fleet, Settings, fleet
from stockade.push.install import Installed
from stockade.push.talk import Lacking


FACTS = Facts(
    family="debian", distribution="debian 12", package_manager="apt", missing=("nftables",)
)


def jobs(*names, **manifest):
    return [(Host(name, "192.0.2.1"), Manifest(name, (), **manifest)) for name in names]


@pytest.fixture
def talks(monkeypatch):
    """Let hosts answer from a table: name -> result, error, or a function of the host's name."""
    table = {}

    def talk(remote, host, manifest, mode, settings, progress, *, deploys=False):
        progress(host.name, "connecting")
        answer = table.get(host.name, HostResult(host.name, "ok"))
        if callable(answer):
            answer = answer(deploys)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(fleet, "talk", talk)
    return table


class NoRemote:
    known = None


def make_fleet(**options):
    return Fleet(NoRemote(), settings=Settings(), **options)


def lacking(name, *, python=False, facts=FACTS):
    return Lacking(Host(name, "192.0.2.1"), Manifest(name, ()), facts, python, "")


def outcomes(results):
    return {result.host: result.outcome for result in results}


def test_every_host_has_its_own_end(talks):
    """Unreachable, refused, or broken by a fault of ours: the others go on."""
    talks["b"] = Unreachable("no route", host="b", remedy="plug it in")
    talks["c"] = Refused("no systemd", host="c")
    talks["d"] = KeyError("a fault of ours")

    results = {r.host: r for r in make_fleet(parallel=2).run(jobs(*"abcde"), "push")}

    assert {
        "a": "ok",
        "b": "unreachable",
        "c": "refused",
        "d": "failed",
        "e": "ok",
    } == outcomes(results.values())
    assert ("no route", "plug it in") == (results["b"].error, results["b"].remedy)
    assert "KeyError: 'a fault of ours'" == results["d"].error


def test_hosts_run_side_by_side(talks):
    """As many hosts as asked for are under way at once."""
    meeting = threading.Barrier(10, timeout=20)

    def meet(deploys):
        meeting.wait()
        return HostResult("x", "ok")

    names = [f"h{n}" for n in range(10)]
    talks.update(dict.fromkeys(names, meet))

    assert 10 == len(list(make_fleet(parallel=10).run(jobs(*names), "push")))


def test_stop_lets_the_hosts_under_way_end(talks):
    """After stop no host is begun; the one under way is yielded, the others are named."""
    run = make_fleet(parallel=1)

    def stop(deploys):
        run.stop()
        assert {"a": "connecting"} == run.under_way
        return HostResult("a", "changed")

    talks["a"] = stop

    assert {"a": "changed"} == outcomes(run.run(jobs("a", "b", "c"), "push"))
    assert ["b", "c"] == run.not_begun
    assert {} == run.under_way


def test_hosts_that_lack_packages_come_back_after_bootstrap(talks, monkeypatch):
    """Bootstrap runs once for all of them, and each is converged again as it ends."""
    asked = []

    def install(lacking, known, folders, parallel, progress):
        asked.append([one.host.name for one in lacking])
        yield Installed("b", "", (("package", "nftables", "install"),))
        yield Installed("c", "E: no such package")

    monkeypatch.setattr(fleet, "install", install)
    answers = iter([lacking("b"), HostResult("b", "ok")])
    talks["b"] = lambda deploys: next(answers)
    talks["c"] = lambda deploys: lacking("c")

    results = {r.host: r for r in make_fleet(parallel=3).run(jobs("a", "b", "c"), "push")}

    assert [["b", "c"]] == [sorted(names) for names in asked]
    assert {"a": "ok", "b": "changed", "c": "refused"} == outcomes(results.values())
    assert (Change("package", "nftables", "install"),) == tuple(results["b"].changes)
    assert "cannot install nftables: E: no such package" == results["c"].error


def test_a_plan_installs_nothing(talks, monkeypatch):
    """In check mode a host without Python is told what it would get, and no child is started."""
    monkeypatch.setattr(fleet, "install", None)
    talks["a"] = lacking("a", python=True)

    (result,) = make_fleet().run(jobs("a"), "check")

    assert "changed" == result.outcome
    assert (Change("package", "python3", "install"),) == tuple(result.changes)


@pytest.mark.parametrize(
    "facts, python, words",
    [
        pytest.param(
            Facts(family="debian", distribution="debian 10", package_manager="apt"),
            True,
            "no Python >= 3.9 on debian 10, and none to be had",
            id="no-python",
        ),
        pytest.param(
            Facts(distribution="alpine 3.20", missing=("nftables",)),
            False,
            "alpine 3.20 is neither of the Debian nor of the RHEL family, and lacks nftables",
            id="unknown-family",
        ),
    ],
)
@pytest.mark.parametrize("mode", ["check", "push"])
def test_what_cannot_be_had_is_refused(talks, facts, python, words, mode):
    """A host that no package manager of ours can help is refused in words."""
    talks["a"] = lacking("a", python=python, facts=facts)

    (result,) = make_fleet().run(jobs("a"), mode)

    assert ("refused", words) == (result.outcome, result.error)
    assert result.remedy


def test_bootstrap_that_breaks_fails_its_hosts_only(talks, monkeypatch):
    """Even when starting the child raises, the run ends with a result for each host."""

    def install(*_):
        raise OSError("no more processes")

    monkeypatch.setattr(fleet, "install", install)
    talks["b"] = lacking("b")

    assert {"a": "ok", "b": "failed"} == outcomes(make_fleet().run(jobs("a", "b"), "push"))


def test_deploys_run_once_a_push(talks, monkeypatch):
    """The first talk stops for the deploys of roles; the one after bootstrap does not."""
    seen = []

    def answer(deploys):
        seen.append(deploys)
        return lacking("a") if deploys else HostResult("a", "ok")

    monkeypatch.setattr(fleet, "install", lambda *_: iter([Installed("a", "")]))
    talks["a"] = answer

    assert {"a": "ok"} == outcomes(make_fleet().run(jobs("a", deploys=("m:f",)), "push"))
    assert [True, False] == seen


def test_progress_is_told(talks):
    """Whoever watches hears of each host."""
    heard = []

    list(make_fleet(progress=lambda host, text: heard.append((host, text))).run(jobs("a"), "push"))

    assert [("a", "connecting")] == heard
