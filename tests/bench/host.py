# SPDX-License-Identifier: MIT
"""What rsyslog writes into one file for all on a web host: 2 % sshd, one failure in a thousand."""

from collections.abc import Iterator
from random import Random

from bench.auth import Line, Sshd
from bench.people import USERS, attackers, user_address, woven


UNITS = (
    ("apt-daily.service", "Daily apt download activities"),
    ("certbot.service", "Certbot"),
    ("fstrim.service", "Discard unused blocks on filesystems"),
    ("logrotate.service", "Rotate log files"),
    ("shop-worker.service", "Queue worker of the shop"),
    ("shop-import.service", "Nightly import of the shop's catalogue"),
)
PATHS = (
    "/",
    "/cart",
    "/checkout",
    "/item/1733",
    "/item/92",
    "/login",
    "/search?q=lamp",
    "/style.css",
)


def lines(seed: int) -> Iterator[str]:
    """Yield the host's system log."""
    random = Random(seed)
    sshd, other = Sshd(random), _Daemons(random)
    return woven(
        random,
        "shop",
        5.0,
        [
            (1.4, sshd.login),
            (0.5, sshd.health_check),
            (0.18, sshd.guess),
            (0.08, sshd.mistyped),
            (90.0, other.application),
            (45.0, other.firewall),
            (26.0, other.mail_in),
            (12.0, other.mailbox),
            (22.0, other.unit),
            (12.0, other.cron),
            (14.0, other.php),
            (2.0, other.broken_unit),
            (9.0, other.name_server),
        ],
    )


class _Daemons:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._strangers = attackers(random, 2000)
        self._uptime = 0.0

    def application(self, at: float) -> Iterator[Line]:
        random = self._random
        path, code = random.choice(PATHS), random.choice((200, 200, 200, 200, 302, 304, 404))
        yield (
            at,
            (
                f"shop[{random.randrange(900, 930)}]: request {random.getrandbits(48):012x} "
                f"GET {path} {code} {random.randrange(2, 900)} ms from {user_address(random)}"
            ),
        )
        if random.random() < 0.3:
            yield (
                at + 0.1,
                (
                    f"shop-worker[{random.randrange(930, 940)}]: job {random.randrange(1 << 30)} "
                    f"done in {random.randrange(5, 4000)} ms"
                ),
            )

    def firewall(self, at: float) -> Iterator[Line]:
        random = self._random
        yield (
            at,
            (
                f"kernel: [{at % 1e7:.6f}] [UFW BLOCK] IN=eth0 OUT= "
                f"MAC=02:00:5e:00:53:01:02:00:5e:00:53:fe:08:00 "
                f"SRC={random.choice(self._strangers)} "
                f"DST=192.0.2.10 LEN={random.randrange(40, 64)} TOS=0x00 PREC=0x00 "
                f"TTL={random.randrange(40, 250)} ID={random.randrange(65536)} PROTO=TCP "
                f"SPT={random.randrange(1024, 65536)} "
                f"DPT={random.choice((23, 445, 3389, 5060, 8080))} "
                "WINDOW=1024 RES=0x00 SYN URGP=0"
            ),
        )

    def mail_in(self, at: float) -> Iterator[Line]:
        random = self._random
        number, address = random.randrange(1000, 1 << 22), user_address(random)
        name = f"mx{address.rpartition('.')[2]}.example.net"
        queue, bytes_ = f"{random.getrandbits(40):010X}", random.randrange(900, 90000)
        yield at, f"postfix/smtpd[{number}]: connect from {name}[{address}]"
        yield at + 0.2, f"postfix/smtpd[{number}]: {queue}: client={name}[{address}]"
        yield (
            at + 0.3,
            f"postfix/cleanup[{number + 4}]: {queue}: message-id=<{queue.lower()}@example.net>",
        )
        yield (
            at + 0.4,
            (
                f"postfix/qmgr[1021]: {queue}: from=<news@example.net>, size={bytes_}, nrcpt=1 "
                "(queue active)"
            ),
        )
        yield (
            at + 0.6,
            (
                f"postfix/smtpd[{number}]: disconnect from {name}[{address}] ehlo=2 starttls=1 "
                "mail=1 rcpt=1 data=1 quit=1 commands=7"
            ),
        )
        yield at + 0.8, f"postfix/qmgr[1021]: {queue}: removed"

    def mailbox(self, at: float) -> Iterator[Line]:
        user, address = self._random.choice(USERS), user_address(self._random)
        yield (
            at,
            (
                f"dovecot: imap-login: Login: user=<{user}>, method=PLAIN, rip={address}, "
                f"lip=192.0.2.10, mpid={self._random.randrange(1000, 1 << 22)}, TLS"
            ),
        )
        yield (
            at + 60,
            (
                f"dovecot: imap({user}): Disconnected: Logged out in={self._random.randrange(900)} "
                f"out={self._random.randrange(9000)}"
            ),
        )

    def unit(self, at: float) -> Iterator[Line]:
        name, title = self._random.choice(UNITS)
        yield at, f"systemd[1]: Starting {name} - {title}..."
        yield at + 2, f"systemd[1]: {name}: Deactivated successfully."
        yield at + 2, f"systemd[1]: Finished {name} - {title}."

    def broken_unit(self, at: float) -> Iterator[Line]:
        name, title = self._random.choice(UNITS)
        yield at, f"systemd[1]: {name}: Main process exited, code=exited, status=1/FAILURE"
        yield at, f"systemd[1]: {name}: Failed with result 'exit-code'."
        yield at, f"systemd[1]: Failed to start {name} - {title}."

    def cron(self, at: float) -> Iterator[Line]:
        number = self._random.randrange(1000, 1 << 22)
        yield at, f"CRON[{number}]: (www-data) CMD (/usr/bin/php /srv/shop/cron.php --quiet)"

    def php(self, at: float) -> Iterator[Line]:
        yield (
            at,
            (
                f"php-fpm[{self._random.randrange(700, 720)}]: [pool shop] child "
                f"{self._random.randrange(1000, 1 << 22)} exited with code 0 after "
                f"{self._random.random() * 900:.6f} seconds from start"
            ),
        )

    def name_server(self, at: float) -> Iterator[Line]:
        yield (
            at,
            (
                f"named[588]: client @0x{self._random.getrandbits(44):012x} "
                f"{user_address(self._random)}#{self._random.randrange(1024, 65536)} "
                "(example.org): query (cache) 'example.org/ANY/IN' denied"
            ),
        )
