# SPDX-License-Identifier: MIT
"""Does firewall-cmd get the words that it should, in as few calls as promised?"""

from ipaddress import ip_address, ip_network

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.bus import _CALL
from stockade_agent.firewall.firewalld import Firewalld
from stockade_agent.specs import Shield


SSHD = Shield("sshd", ((22, 22),))
RULES = [
    f'rule family="ipv{version}" source ipset="stockade-sshd-{version}" '
    'port port="22" protocol="tcp" reject type="tcp-reset"'
    for version in (4, 6)
]
POLICY = "stockade (active)\n  priority: -32000\n  ingress-zones: ANY\n  egress-zones: HOST\n"
ALIVE = {
    "--get-ipsets": "office stockade-sshd-4 stockade-sshd-6\n",
    "--get-policies": "allow-host-ipv6 stockade\n",
    "--info-policy=stockade": POLICY + "  rich rules:\n\t" + "\n\t".join(RULES) + "\n",
}
PROBED = 'rule family="ipv4" source address="192.0.2.1" reject'


KERNEL = [
    ("nft", "-j", "list", "table", "inet", "firewalld"),
    ("ipset", "save"),
]


def backend_of(tool):
    return Firewalld(tool, cut=lambda bans, shields: 0)


@pytest.fixture(autouse=True)
def blind(tool):
    """Neither nft nor ipset is installed: firewalld's word is all there is."""
    for command in KERNEL:
        tool.refuse(command, f"{command[0]} is not installed", code=None)


@pytest.fixture
def answer(tool):
    """Return a function that sets what firewall-cmd answers, words joined by a space."""

    def to(words, text):
        tool.answers["firewall-cmd", *words.split(" ")] = text

    return to


@pytest.fixture
def alive(answer):
    """A firewalld that has all of a jail's objects in both configurations."""
    for words, text in ALIVE.items():
        answer(words, text)
        answer(f"--permanent {words}", text)


@pytest.fixture
def firewall(tool, alive, now):
    """A backend with a jail, and no memory of how it was started."""
    backend = backend_of(tool)
    backend.start([SSHD], [], now)
    tool.calls.clear()
    return backend


def asked(tool):
    return [said(argv) for argv, _ in tool.calls if argv not in KERNEL]


def said(argv):
    """A call over D-Bus in the words that firewall-cmd has for it."""
    if argv[0] != "busctl":
        return " ".join(argv[1:])
    method, _, name, entry = argv[-4:]
    return f"--ipset={name} --{method.removesuffix('Entry')}-entry={entry}"


def writes(tool):
    reads = ("get-", "info-", "list-", "state", "version")
    return [words for words in asked(tool) if not any(f"--{read}" in words for read in reads)]


def test_first_start(tool, answer, now, ban):
    """Sets and policy are made permanent, come alive by one reload, and are then filled."""

    def come_alive(_):
        for words, text in ALIVE.items():
            answer(words, text)
        return "success\n"

    tool.answers["firewall-cmd", "--reload"] = come_alive

    backend_of(tool).start([SSHD], [ban("192.0.2.1")], now)

    assert [
        "--permanent --new-ipset=stockade-sshd-4 --type=hash:net --option=maxelem=1048576",
        (
            "--permanent --new-ipset=stockade-sshd-6 --type=hash:net --option=family=inet6 "
            "--option=maxelem=1048576"
        ),
        "--permanent --ipset=stockade-sshd-4 --add-entries-from-file=/dev/stdin",
        "--permanent --new-policy=stockade",
        "--permanent --policy=stockade --set-priority=-32000",
        "--permanent --policy=stockade --add-ingress-zone=ANY",
        "--permanent --policy=stockade --add-egress-zone=HOST",
        f"--permanent --policy=stockade --add-rich-rule={RULES[0]} --add-rich-rule={RULES[1]}",
        "--reload",
        "--ipset=stockade-sshd-4 --add-entry=192.0.2.1",
    ] == writes(tool)
    assert ["192.0.2.1\n"] == [stdin for _, stdin in tool.calls if stdin]


def test_no_reload_that_would_cost_somebody_a_setting(tool, answer, now):
    """Where somebody's running settings are not permanent, nothing at all is changed."""
    answer("--list-all-zones", "public (active)\n  ports: 9999/tcp\n")

    with pytest.raises(FirewallError, match="zone public: ports: 9999/tcp") as caught:
        backend_of(tool).start([SSHD], [], now)

    assert "firewall-cmd --runtime-to-permanent" in caught.value.remedy
    assert [] == writes(tool)


def test_start_where_all_is_as_it_should_be(tool, alive, answer, ban, now):
    """A restart of the agent with the same bans changes nothing, and asks ten times."""
    for scope in ("", "--permanent "):
        answer(f"{scope}--ipset=stockade-sshd-4 --get-entries", "192.0.2.1\n")

    backend_of(tool).start([SSHD], [ban("192.0.2.1")], now)

    assert [] == writes(tool)
    assert 10 == len(asked(tool))


def test_start_without_a_jail_that_was(tool, alive, now):
    """The rules of a jail that is gone go from both configurations, its sets from one."""
    backend_of(tool).start([], [], now)

    gone = " ".join(f"--remove-rich-rule={rule}" for rule in RULES)
    assert [
        f"--permanent --policy=stockade {gone}",
        f"--policy=stockade {gone}",
        "--permanent --delete-ipset=stockade-sshd-4",
        "--permanent --delete-ipset=stockade-sshd-6",
    ] == writes(tool)


def test_a_few_bans_go_one_by_one(firewall, tool, ban, now):
    """A small batch changes the running set without emptying it, then the permanent one."""
    firewall.apply([ban("192.0.2.1"), ban("192.0.2.2"), ban("2001:db8::1")], [], now)
    firewall.apply([ban("192.0.2.1")], [ban("192.0.2.2"), ban("192.0.2.9")], now)
    firewall.apply([ban("192.0.2.1")], [ban("192.0.2.2")], now)

    assert [
        "--ipset=stockade-sshd-4 --add-entry=192.0.2.1",
        "--ipset=stockade-sshd-4 --add-entry=192.0.2.2",
        "--ipset=stockade-sshd-6 --add-entry=2001:db8::1",
        "--permanent --ipset=stockade-sshd-4 --add-entries-from-file=/dev/stdin",
        "--permanent --ipset=stockade-sshd-6 --add-entries-from-file=/dev/stdin",
        "--ipset=stockade-sshd-4 --remove-entry=192.0.2.2",
        "--permanent --ipset=stockade-sshd-4 --remove-entries-from-file=/dev/stdin",
    ] == asked(tool)


def test_connections_are_ended(tool, alive, ban, now):
    """What banned addresses have open is ended at a start and at each ban; failure is a warning."""
    ended = []

    def cut(bans, shields):
        ended.append(({jail: sorted(map(str, of_jail)) for jail, of_jail in bans.items()}, shields))
        raise PermissionError(1, "Operation not permitted")

    backend = Firewalld(tool, cut=cut)
    warnings = backend.start([SSHD], [ban("192.0.2.1"), ban("192.0.2.2", "gone")], now)
    backend.apply([ban("192.0.2.3")], [ban("192.0.2.1")], now)

    assert [
        ({"sshd": ["192.0.2.1"]}, {"sshd": SSHD}),
        ({"sshd": ["192.0.2.3"]}, {"sshd": SSHD}),
    ] == ended
    assert ["established connections of banned addresses go on: Operation not permitted"] == list(
        warnings
    )


def test_many_bans_come_from_a_file(firewall, tool, ban, now):
    """However many bans there are, the calls are two."""
    firewall.apply([ban(f"10.0.{i >> 8}.{i & 255}") for i in range(1000)], [], now)

    assert [
        "--ipset=stockade-sshd-4 --add-entries-from-file=/dev/stdin",
        "--permanent --ipset=stockade-sshd-4 --add-entries-from-file=/dev/stdin",
    ] == asked(tool)
    assert [1000, 1000] == [len(stdin.splitlines()) for _, stdin in tool.calls]


def test_a_set_holds_the_widest_of_what_overlaps(firewall, tool, answer, ban, now):
    """Entries that overlap would be refused: the narrower come back when the wide one goes."""
    firewall.apply([ban("192.0.2.7"), ban("192.0.2.128/25"), ban("198.51.100.7")], [], now)
    tool.calls.clear()

    firewall.apply([ban("192.0.2.0/24"), ban("192.0.2.8")], [], now)
    answer("--ipset=stockade-sshd-4 --get-entries", "192.0.2.0/24\n198.51.100.7\n")
    banned = firewall.banned()["sshd"]
    firewall.apply([], [ban("192.0.2.0/24")], now)

    assert [
        "--ipset=stockade-sshd-4 --remove-entry=192.0.2.128/25",
        "--ipset=stockade-sshd-4 --remove-entry=192.0.2.7",
        "--ipset=stockade-sshd-4 --add-entry=192.0.2.0/24",
        "--ipset=stockade-sshd-4 --remove-entry=192.0.2.0/24",
        "--ipset=stockade-sshd-4 --add-entry=192.0.2.128/25",
        "--ipset=stockade-sshd-4 --add-entry=192.0.2.7",
        "--ipset=stockade-sshd-4 --add-entry=192.0.2.8",
    ] == [words for words in writes(tool) if "permanent" not in words]
    assert {
        ip_network("192.0.2.0/24"),
        ip_network("192.0.2.128/25"),
        ip_address("192.0.2.7"),
        ip_address("192.0.2.8"),
        ip_address("198.51.100.7"),
    } == banned


def test_after_a_failure_a_set_is_read_anew(firewall, tool, answer, ban, now):
    """What a call that failed may have done is not guessed."""
    tool.refuse(
        (*_CALL, "addEntry", "ss", "stockade-sshd-4", "192.0.2.1"), "Call failed: COMMAND_FAILED"
    )
    with pytest.raises(FirewallError):
        firewall.apply([ban("192.0.2.1")], [], now)
    tool.calls.clear()
    answer("--ipset=stockade-sshd-4 --get-entries", "192.0.2.1\n")

    firewall.apply([ban("192.0.2.1")], [], now)

    assert [
        "--ipset=stockade-sshd-4 --get-entries",
        "--permanent --ipset=stockade-sshd-4 --add-entries-from-file=/dev/stdin",
    ] == asked(tool)


def test_an_entry_that_is_as_it_should_be(firewall, tool, ban, now):
    """That firewalld has an entry already is no failure; that it has no such set is one."""
    call = (*_CALL, "addEntry", "ss", "stockade-sshd-4", "192.0.2.1")
    tool.refuse(call, "Call failed: ALREADY_ENABLED: '192.0.2.1' already is in 'stockade-sshd-4'")
    firewall.apply([ban("192.0.2.1")], [], now)

    call = (*_CALL, "addEntry", "ss", "stockade-sshd-4", "192.0.2.2")
    tool.refuse(call, "Call failed: INVALID_IPSET: stockade-sshd-4")
    with pytest.raises(FirewallError, match="INVALID_IPSET"):
        firewall.apply([ban("192.0.2.2")], [], now)


def test_a_set_that_is_gone(firewall, tool):
    """A set that somebody removed is said to be so."""
    argv = ("firewall-cmd", "--ipset=stockade-sshd-4", "--get-entries")
    tool.refuse(argv, "Error: INVALID_IPSET: stockade-sshd-4", 135)

    with pytest.raises(FirewallError, match="somebody removed ipset stockade-sshd-4"):
        firewall.banned()


@pytest.mark.parametrize(
    "shield, expected",
    [
        pytest.param(Shield("j"), ["reject"], id="everything"),
        pytest.param(Shield("j", blocktype="drop"), ["drop"], id="drop-everything"),
        pytest.param(
            Shield("j", ((80, 90), (443, 443)), ("tcp", "udp")),
            [
                'port port="443" protocol="tcp" reject type="tcp-reset"',
                'port port="443" protocol="udp" reject',
                'port port="80-90" protocol="tcp" reject type="tcp-reset"',
                'port port="80-90" protocol="udp" reject',
            ],
            id="ports-of-two-protocols",
        ),
        pytest.param(
            Shield("j", ((22, 22),), blocktype="drop"),
            ['port port="22" protocol="tcp" drop'],
            id="drop",
        ),
    ],
)
def test_rules_of_a_shield(tool, alive, answer, now, shield, expected):
    """TCP is answered with a reset, the rest as a closed port would, or not at all."""
    sets = "stockade-j-4 stockade-j-6\n"
    for words in ("--get-ipsets", "--permanent --get-ipsets"):
        answer(words, sets)

    backend_of(tool).start([shield], [], now)

    [added] = [argv for argv, _ in tool.calls if "--permanent" in argv and "add-rich" in str(argv)]
    head = '--add-rich-rule=rule family="ipv4" source ipset="stockade-j-4" '
    assert [head + rule for rule in expected] == [word for word in added if 'y="ipv4"' in word]


def test_names_of_sets_fit(tool, now):
    """A set's name has 31 characters at most and none that firewalld does not take."""
    jails = ["x" * 21, "x" * 22, "öffentlich", "a--b", "web shop", "a" * 20]

    backend_of(tool).start([Shield(jail) for jail in jails], [], now)

    made = [word.split("=")[1] for argv, _ in tool.calls for word in argv if "new-ipset" in word]
    assert 12 == len(set(made))
    assert max(map(len, made)) <= 31
    assert not set("".join(made)) - set("abcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("there", [True, False], ids=["in-our-policy", "in-the-default-zone"])
def test_probe_makes_a_rule_and_takes_it_away(tool, answer, there):
    """The probe succeeds only if its rule is listed, and would end by itself."""
    where = "--policy=stockade " if there else ""
    answer("--version", "1.3.3\n")
    answer("--get-policies", "stockade\n" if there else "allow-host-ipv6\n")
    answer(f"{where}--list-rich-rules", f"{PROBED}\n")

    backend_of(tool).probe()

    assert [
        f"{where}--add-rich-rule={PROBED} --timeout=60",
        f"{where}--remove-rich-rule={PROBED}",
    ] == writes(tool)

    answer(f"{where}--list-rich-rules", "\n")
    with pytest.raises(FirewallError, match="did not keep"):
        backend_of(tool).probe()


def test_probe_foresees_a_reload_that_must_not_be(tool, answer):
    """On a host where the first start could not reload, the probe fails with that reason."""
    answer("--version", "2.0.0\n")
    answer("--list-rich-rules", f"{PROBED}\n")
    answer("--list-all-policies", "theirs\n  priority: 5\n")

    with pytest.raises(FirewallError, match="policy theirs: priority: 5"):
        backend_of(tool).probe()


@pytest.mark.parametrize("reloads", [True, False])
def test_stop(firewall, tool, answer, reloads):
    """Nobody is refused after a stop; a reload follows where it takes nothing from others."""
    if not reloads:
        answer("--list-all-zones", "public\n  ports: 9999/tcp\n")

    firewall.stop()

    gone = " ".join(f"--remove-rich-rule={rule}" for rule in RULES)
    assert [
        f"--policy=stockade {gone}",
        "--permanent --delete-policy=stockade",
        "--permanent --delete-ipset=stockade-sshd-4",
        "--permanent --delete-ipset=stockade-sshd-6",
        *(["--reload"] if reloads else []),
    ] == writes(tool)
