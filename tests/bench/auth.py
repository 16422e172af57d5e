# SPDX-License-Identifier: MIT
"""What rsyslog writes into auth.log on a Debian host.

``busy`` is a third sshd; a fifth of its lines are logins and disconnects that a filter must
follow as sessions; one line in a thousand is a failure. ``attack`` is nothing but guesses.
"""

from collections.abc import Iterator
from itertools import count
from random import Random

from bench.people import (
    GUESSED,
    USERS,
    Activity,
    attackers,
    fingerprint,
    port,
    user_address,
    woven,
)


Line = tuple[float, str]
COMMANDS = (
    "/usr/bin/systemctl status nginx",
    "/usr/bin/apt-get update",
    "/usr/bin/journalctl -u app -n 50",
    "/usr/bin/rsync -a /srv/app/ /srv/release/",
    "/usr/bin/tail -n 100 /var/log/syslog",
)


def busy(seed: int) -> Iterator[str]:
    """Yield a busy host's auth log."""
    random = Random(seed)
    sshd, other = Sshd(random), _Other(random)
    return woven(
        random,
        "web1",
        2.5,
        [
            (63.0, sshd.login),
            (6.0, sshd.health_check),
            (0.28, sshd.mistyped),
            (0.35, sshd.guess),
            (88.0, other.sudo),
            (84.0, other.cron),
            (8.0, other.polkit),
        ],
    )


def attack(seed: int, number: int = 5000) -> Iterator[str]:
    """Yield the auth log of a host on which many addresses guess passwords.

    Args:
        seed: decides all.
        number: of addresses.
    """
    random = Random(seed)
    sshd = Sshd(random, attackers(random, number))
    kinds: list[tuple[float, Activity]] = [
        (40.0, sshd.guess),
        (30.0, sshd.guess_root),
        (6.0, sshd.insist),
        (4.0, sshd.knock),
        (2.0, sshd.old_client),
    ]
    return woven(random, "web1", 5.0, kinds)


class Sshd:
    """OpenSSH 9.2 with PAM, connection by connection.

    Args:
        random: decides all.
        guessers: who guesses passwords; each comes in turn, so all of them come.
    """

    def __init__(self, random: Random, guessers: list[str] | None = None) -> None:
        self._random = random
        self._guessers = guessers or attackers(random, 50)
        self._turns, self._sessions = count(), count(100)
        self._keys = {user: fingerprint(random) for user in USERS}
        self._last_pid = 1000

    def login(self, at: float) -> Iterator[Line]:
        """Log in by key, stay a while, leave."""
        random = self._random
        user, address, number = random.choice(USERS), user_address(random), port(random)
        pid, child, session = self._pid(), self._pid(), next(self._sessions)
        uid = 1000 + USERS.index(user)
        stay = at + 0.4 + random.expovariate(1 / 40)
        key = f"ED25519 SHA256:{self._keys[user]}"
        log = f"sshd[{pid}]: "
        yield at, f"{log}Accepted publickey for {user} from {address} port {number} ssh2: {key}"
        yield (
            at + 0.01,
            f"{log}pam_unix(sshd:session): session opened for user {user}(uid={uid}) by (uid=0)",
        )
        yield at + 0.02, f"systemd-logind[611]: New session {session} of user {user}."
        yield (
            stay,
            (
                f"sshd[{child}]: Received disconnect from {address} port {number}:11: "
                "disconnected by user"
            ),
        )
        yield stay, f"sshd[{child}]: Disconnected from user {user} {address} port {number}"
        yield stay + 0.01, f"{log}pam_unix(sshd:session): session closed for user {user}"
        yield (
            stay + 0.02,
            f"systemd-logind[611]: Session {session} logged out. Waiting for processes to exit.",
        )
        yield stay + 0.03, f"systemd-logind[611]: Removed session {session}."

    def health_check(self, at: float) -> Iterator[Line]:
        """Connect and close, as a monitor does."""
        yield (
            at,
            f"sshd[{self._pid()}]: Connection closed by 192.0.2.250 port {port(self._random)}",
        )

    def mistyped(self, at: float) -> Iterator[Line]:
        """Fail once, as somebody who has an account does."""
        user, address = self._random.choice(USERS), user_address(self._random)
        log, number = f"sshd[{self._pid()}]: ", port(self._random)
        yield at, f"{log}{_pam(address, user)}"
        yield at + 2, f"{log}Failed password for {user} from {address} port {number} ssh2"
        yield (
            at + 9,
            (
                f"{log}Connection closed by authenticating user {user} {address} port {number} "
                "[preauth]"
            ),
        )

    def guess(self, at: float) -> Iterator[Line]:
        """Guess a name that is none."""
        user, address = self._random.choice(GUESSED[1:]), self._guesser()
        log, number = f"sshd[{self._pid()}]: ", port(self._random)
        yield at, f"{log}Invalid user {user} from {address} port {number}"
        yield at, f"{log}pam_unix(sshd:auth): check pass; user unknown"
        yield at, f"{log}{_pam(address)}"
        yield (
            at + 2,
            f"{log}Failed password for invalid user {user} from {address} port {number} ssh2",
        )
        yield at + 2.2, f"{log}Received disconnect from {address} port {number}:11: Bye [preauth]"
        yield (
            at + 2.2,
            f"{log}Disconnected from invalid user {user} {address} port {number} [preauth]",
        )

    def guess_root(self, at: float) -> Iterator[Line]:
        """Guess root's password."""
        address, number, log = self._guesser(), port(self._random), f"sshd[{self._pid()}]: "
        yield at, f"{log}{_pam(address, 'root')}"
        yield at + 2, f"{log}Failed password for root from {address} port {number} ssh2"
        if self._random.random() < 0.5:
            yield (
                at + 2.3,
                (
                    f"{log}Connection closed by authenticating user root {address} port {number} "
                    "[preauth]"
                ),
            )
        else:
            yield at + 2.3, f"{log}Received disconnect from {address} port {number}:11:  [preauth]"
            yield (
                at + 2.3,
                (
                    f"{log}Disconnected from authenticating user root {address} port {number} "
                    "[preauth]"
                ),
            )

    def insist(self, at: float) -> Iterator[Line]:
        """Guess until sshd has had enough."""
        address, number, log = self._guesser(), port(self._random), f"sshd[{self._pid()}]: "
        yield at, f"{log}{_pam(address, 'root')}"
        for attempt in range(1, 7):
            yield (
                at + attempt * 2,
                f"{log}Failed password for root from {address} port {number} ssh2",
            )
        yield (
            at + 12.1,
            (
                f"{log}error: maximum authentication attempts exceeded for root from {address} "
                f"port {number} ssh2 [preauth]"
            ),
        )
        yield (
            at + 12.1,
            (
                f"{log}Disconnecting authenticating user root {address} port {number}: "
                "Too many authentication failures [preauth]"
            ),
        )
        yield (
            at + 12.2,
            (
                f"{log}PAM 5 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= "
                f"rhost={address}  user=root"
            ),
        )
        yield at + 12.2, f"{log}PAM service(sshd) ignoring max retries; 6 > 3"

    def knock(self, at: float) -> Iterator[Line]:
        """Connect and go, as a scanner does."""
        what = self._random.choice(("closed", "reset"))
        yield (
            at,
            (
                f"sshd[{self._pid()}]: Connection {what} by {self._guesser()} "
                f"port {port(self._random)} [preauth]"
            ),
        )

    def old_client(self, at: float) -> Iterator[Line]:
        """Offer what nobody takes any more."""
        yield (
            at,
            (
                f"sshd[{self._pid()}]: Unable to negotiate with {self._guesser()} "
                f"port {port(self._random)}: no matching host key type found. "
                "Their offer: ssh-rsa,ssh-dss [preauth]"
            ),
        )

    def _guesser(self) -> str:
        return self._guessers[next(self._turns) % len(self._guessers)]

    def _pid(self) -> int:
        # As the kernel gives them: upwards, with gaps, and from the beginning after 2^22.
        self._last_pid += self._random.randrange(1, 9)
        if self._last_pid >= 1 << 22:
            self._last_pid = 300
        return self._last_pid


class _Other:
    """Who else writes into auth.log."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def sudo(self, at: float) -> Iterator[Line]:
        user, command = self._random.choice(USERS), self._random.choice(COMMANDS)
        uid = 1000 + USERS.index(user)
        yield (
            at,
            f"sudo: {user:>8} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; COMMAND={command}",
        )
        yield (
            at,
            f"sudo: pam_unix(sudo:session): session opened for user root(uid=0) by (uid={uid})",
        )
        yield at + 0.5, "sudo: pam_unix(sudo:session): session closed for user root"

    def cron(self, at: float) -> Iterator[Line]:
        log = f"CRON[{self._random.randrange(1000, 1 << 22)}]: pam_unix(cron:session): session "
        yield at, f"{log}opened for user root(uid=0) by (uid=0)"
        yield at + 1, f"{log}closed for user root"

    def polkit(self, at: float) -> Iterator[Line]:
        name = f":1.{self._random.randrange(10, 9999)}"
        yield (
            at,
            (
                f"polkitd[540]: Registered Authentication Agent for unix-process:"
                f"{self._random.randrange(1000, 1 << 22)}:{int(at) % 86400 * 100} (system bus name "
                f"{name} [pkttyagent --notify-fd 5 --fallback])"
            ),
        )
        yield (
            at + 3,
            f"polkitd[540]: Unregistered Authentication Agent (system bus name {name})",
        )


def _pam(address: str, user: str = "") -> str:
    tail = f"  user={user}" if user else ""
    return (
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= "
        f"rhost={address}{tail}"
    )
