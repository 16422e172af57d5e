# SPDX-License-Identifier: MIT
"""An access log in the combined format of apache and nginx: visitors, and some who probe."""

import time
from collections.abc import Iterator
from random import Random

from bench.people import BEGIN, attackers, user_address


PAGES = (
    "/",
    "/about",
    "/assets/site.css",
    "/assets/site.js",
    "/cart",
    "/feed.xml",
    "/images/lamp-17.webp",
    "/images/lamp-18.webp",
    "/item/1733",
    "/item/92?colour=green",
    "/search?q=desk+lamp",
)
BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Safari/537.36"
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.5 Safari/605.1.15"
    ),
    "Mozilla/5.0 (compatible; Ourcrawler/2.1; +https://crawler.example/)",
)
HARVESTERS = ("EmailSiphon", "autoemailspider", "Nsauditor/1.0", "LMQueueBot/0.2")
PROBED = (
    "/phpmyadmin/index.php",
    "/wp-login.php",
    "/mysqladmin/scripts/setup.php",
    "/administrator/index.php",
    "/roundcube/",
)


def access(seed: int) -> Iterator[str]:
    """Yield the access log; about one line in a hundred is of somebody who probes."""
    random = Random(seed)
    strangers = attackers(random, 400)
    now, stamp, second = float(BEGIN), "", -1
    while True:
        now += random.expovariate(8)
        if int(now) != second:
            second = int(now)
            stamp = time.strftime("[%d/%b/%Y:%H:%M:%S +0000]", time.gmtime(second))
        if random.random() >= 0.01:
            yield (
                f'{user_address(random)} - - {stamp} "GET {random.choice(PAGES)} HTTP/1.1" '
                f"{random.choice((200, 200, 200, 200, 304, 404))} {random.randrange(200, 90000)} "
                f'"https://shop.example/" "{random.choice(BROWSERS)}"'
            )
            continue
        client = f"{random.choice(strangers)} - - {stamp} "
        kind = random.randrange(4)
        if kind == 0:
            agent = random.choice(HARVESTERS)
            yield f'{client}"GET /about HTTP/1.1" 200 {random.randrange(9000)} "-" "{agent}"'
        elif kind == 1:
            yield f'{client}"GET {random.choice(PROBED)} HTTP/1.1" 404 196 "-" "{BROWSERS[0]}"'
        elif kind == 2:
            yield f'{client}"\\x16\\x03\\x01\\x00\\xEE" 400 226 "-" "-"'
        else:
            yield (
                f'{client}"GET /item/92 HTTP/1.1" 200 5120 "-" "Mozilla/5.0 (compatible; '
                'Googlebot/2.1; +https://search.example/bot.html)"'
            )
