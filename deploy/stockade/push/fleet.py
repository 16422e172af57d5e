# SPDX-License-Identifier: MIT
"""Many hosts at once: threads, bootstrap for those that lack something, results as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from stockade.errors import Refused, StockadeError, Unreachable
from stockade.facts import python_package
from stockade.model import Change, Host, HostResult, Manifest, Mode
from stockade.push.install import Installed, install, order
from stockade.push.talk import Lacking, Progress, Settings, talk
from stockade.remote import Remote


class Job(NamedTuple):
    """A host to do; ``did`` is what bootstrap has changed there already."""

    host: Host
    manifest: Manifest
    bootstrapped: bool = False
    did: tuple[Change, ...] = ()


class Fleet:
    """One command over many hosts.

    ``stop`` may be called from a signal handler: hosts that wait are not begun any more, those
    under way are finished and yielded.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        parallel: int = 50,
        settings: Settings | None = None,
        progress: Progress | None = None,
        folders: Sequence[Path] = (),
    ) -> None:
        self._remote, self._folders = remote, folders
        self._parallel, self._settings = parallel, settings or Settings()
        self._tell = progress
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._phases: dict[str, str] = {}
        self.not_begun: list[str] = []

    def stop(self) -> None:
        """Begin no further host."""
        self._stopping.set()

    @property
    def under_way(self) -> dict[str, str]:
        """The hosts that have begun and not ended, and what happens there."""
        with self._lock:
            return dict(self._phases)

    def _progress(self, name: str, text: str) -> None:
        with self._lock:
            self._phases[name] = text
        if self._tell is not None:
            self._tell(name, text)

    def run(self, jobs: Sequence[tuple[Host, Manifest]], mode: Mode) -> Iterator[HostResult]:
        """Yield each host's result as it ends, in any order."""
        todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        ended: queue.SimpleQueue[HostResult | Lacking | str] = queue.SimpleQueue()
        workers = [
            threading.Thread(target=self._work, args=(todo, ended, mode), daemon=True)
            for _ in range(min(self._parallel, len(jobs)))
        ]
        for host, manifest in jobs:
            todo.put(Job(host, manifest))
        for worker in workers:
            worker.start()
        left, lacking = len(jobs), list[Lacking]()
        try:
            while left:
                if lacking and len(lacking) == left:
                    threading.Thread(
                        target=self._bootstrap, args=(tuple(lacking), todo, ended), daemon=True
                    ).start()
                    lacking.clear()
                item = ended.get()
                if isinstance(item, Lacking):
                    lacking.append(item)
                    continue
                left -= 1
                if isinstance(item, str):
                    self.not_begun.append(item)
                    continue
                with self._lock:
                    self._phases.pop(item.host, None)
                yield item
        finally:
            for _ in workers:
                todo.put(None)

    def _work(
        self,
        todo: queue.SimpleQueue[Job | None],
        ended: queue.SimpleQueue[HostResult | Lacking | str],
        mode: Mode,
    ) -> None:
        while (job := todo.get()) is not None:
            if self._stopping.is_set() and not job.bootstrapped:
                ended.put(job.host.name)
                continue
            try:
                ended.put(self._one(job, mode))
            except Exception as error:  # noqa: BLE001 - a fault of ours in one host stays there
                what = f"{type(error).__name__}: {error}"
                ended.put(HostResult(job.host.name, "failed", error=what, remedy="report this"))

    def _one(self, job: Job, mode: Mode) -> HostResult | Lacking:
        host = job.host
        deploys = mode == "push" and bool(job.manifest.deploys) and not job.bootstrapped
        try:
            end = talk(
                self._remote,
                host,
                job.manifest,
                mode,
                self._settings,
                self._progress,
                deploys=deploys,
            )
        except StockadeError as error:
            return _failure(host, error)
        if isinstance(end, HostResult):
            return _with(end, job.did)
        if job.bootstrapped:
            still = "Python >= 3.9" if end.python else ", ".join(end.facts.missing)
            return HostResult(
                host.name,
                "failed",
                changes=job.did,
                facts=end.facts,
                error=f"still missing after the packages were installed: {still}",
            )
        refusal = _cannot_install(end)
        if refusal is not None:
            return refusal
        if mode == "push":
            return end
        return _planned(end, mode)

    def _bootstrap(
        self,
        lacking: Sequence[Lacking],
        todo: queue.SimpleQueue[Job | None],
        ended: queue.SimpleQueue[HostResult | Lacking | str],
    ) -> None:
        waiting = {one.host.name: one for one in lacking}
        if self._stopping.is_set():
            for name in waiting:
                ended.put(name)
            return
        try:
            for done in install(
                lacking, self._remote.known, self._folders, self._parallel, self._progress
            ):
                one = waiting.pop(done.name)
                did = tuple(Change(*words) for words in done.did)
                if done.error:
                    ended.put(_not_installed(one, done, did))
                else:
                    todo.put(Job(one.host, one.manifest, bootstrapped=True, did=did))
        except Exception as error:  # noqa: BLE001 - nobody else would answer for these hosts
            for one in waiting.values():
                ended.put(HostResult(one.host.name, "failed", error=f"bootstrap: {error!r}"))


def _failure(host: Host, error: StockadeError) -> HostResult:
    if isinstance(error, Unreachable):
        return HostResult(host.name, "unreachable", error=error.message, remedy=error.remedy)
    if isinstance(error, Refused):
        return HostResult(host.name, "refused", error=error.message, remedy=error.remedy)
    return HostResult(host.name, "failed", error=error.message, remedy=error.remedy)


def _with(result: HostResult, did: tuple[Change, ...]) -> HostResult:
    if not did:
        return result
    outcome = "changed" if result.outcome == "ok" else result.outcome
    return replace(result, outcome=outcome, changes=(*did, *result.changes))


def _cannot_install(lacking: Lacking) -> HostResult | None:
    """Return the refusal of a host that no package manager of ours can help."""
    facts, name = lacking.facts, lacking.host.name
    if lacking.python and not python_package(facts):
        return HostResult(
            name,
            "refused",
            facts=facts,
            error=f"no Python >= 3.9 on {facts.distribution or 'this host'}, and none to be had",
            remedy="install one and name it in ansible_python_interpreter",
        )
    if facts.missing and not facts.package_manager:
        return HostResult(
            name,
            "refused",
            facts=facts,
            error=(
                f"{facts.distribution or 'this distribution'} is neither of the Debian nor of the "
                f"RHEL family, and lacks {', '.join(facts.missing)}"
            ),
            remedy="install them by hand",
        )
    return None


def _planned(lacking: Lacking, mode: Mode) -> HostResult:
    """Return what check mode and a request say of a host without Python."""
    package = python_package(lacking.facts)
    if mode == "ask":
        return HostResult(
            lacking.host.name,
            "failed",
            facts=lacking.facts,
            error="no agent is installed (and no Python that could run it)",
            remedy="stockade push installs both",
        )
    return HostResult(
        lacking.host.name,
        "changed",
        changes=(Change("package", package, "install"),),
        facts=lacking.facts,
        notes=("what else would change is known once there is a Python",),
    )


def _not_installed(one: Lacking, done: Installed, did: tuple[Change, ...]) -> HostResult:
    name = one.host.name
    if done.error.startswith("deploy "):
        remedy = "correct the deploy that the role names, then push again"
        return HostResult(name, "failed", did, one.facts, error=done.error, remedy=remedy)
    return HostResult(
        name,
        "failed" if did else "refused",
        did,
        one.facts,
        error=f"cannot install {', '.join(order(one)['packages'])}: {done.error}",
        remedy="mend the host's package sources, or install it by hand, then push again",
    )
