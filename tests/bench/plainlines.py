# SPDX-License-Identifier: MIT
"""Lines without any date, as a program writes them that leaves dates to whoever collects them."""

from collections.abc import Iterator
from random import Random

from bench.people import USERS, attackers, port


STEPS = ("parsed", "validated", "priced", "stored", "indexed", "announced")


def dateless(seed: int) -> Iterator[str]:
    """Yield what a container with an application, and an sshd, writes to its output."""
    random = Random(seed)
    strangers = attackers(random, 20)
    while True:
        order, user = f"{random.getrandbits(40):010x}", random.choice(USERS)
        yield f"INFO  shop.orders order {order} of {user} begins, {random.randrange(1, 9)} items"
        for step in STEPS[: random.randrange(2, 7)]:
            yield f"DEBUG shop.orders order {order} {step} in {random.randrange(1, 90)} ms"
        if random.random() < 0.05:
            yield "Traceback (most recent call last):"
            yield f'  File "/srv/shop/orders.py", line {random.randrange(20, 400)}, in settle'
            yield "    self.ledger.book(order, account)"
            yield f"shop.errors.NoSuchAccount: {user} has no account in this currency"
        if random.random() < 0.005:
            yield (
                f"sshd[{random.randrange(9, 99)}]: Failed password for root "
                f"from {random.choice(strangers)} port {port(random)} ssh2"
            )
