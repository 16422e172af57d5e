# SPDX-License-Identifier: MIT
"""Do counts by prefix equal a naive reference, and larger bans cover whom they should?"""

import random
from ipaddress import IPv6Address, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from stockade_agent.jail import Jail
from stockade_agent.model import FOREVER, Failure, target
from stockade_agent.prefixes import Prefixes
from stockade_agent.specs import FilterSpec, JailSpec


NOW = 1_700_000_000.0


def nobody(_network, _now):
    """Whom nothing speaks for."""
    return ""


ADDRESSES = st.tuples(
    st.sampled_from([0x20010DB8, 0x20010DB9]), st.integers(0, 3), st.integers(0, 3)
).map(lambda parts: IPv6Address(parts[0] << 96 | parts[1] << 64 | parts[2]))


@settings(max_examples=150, deadline=None)
@given(st.lists(ADDRESSES | st.integers(0, 3).map(lambda n: ip_address(0xC0000200 + n))), st.data())
def test_counts_equal_a_naive_reference(addresses, data):
    """Whatever the length, a jail by prefix does what a plain one does with masked addresses."""
    length = data.draw(st.sampled_from([32, 48, 63, 64, 65, 96, 126, 127]))
    spec = JailSpec("j", FilterSpec("f", ()), maxretry=3, bantime=60, prefix6=(length,))
    by_prefix, naive = Jail(spec), Jail(spec)
    prefixes = Prefixes(spec, by_prefix, nobody, nobody)
    for number, address in enumerate(addresses):
        at = NOW + number
        whole = (
            address if address.version == 4 else ip_network((int(address), length), strict=False)
        )
        failure = Failure(at, str(address), address)
        ban = by_prefix.add(prefixes.counted(failure, at), at)
        got = [] if ban is None else prefixes.settled(ban, at)
        expected = naive.add(Failure(at, str(whole), whole), at)
        assert [expected] == got if expected else not got
        assert by_prefix.banned == naive.banned
        assert by_prefix.failed_now == naive.failed_now
    assert [] == prefixes.superseded()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4))
def test_larger_bans_cover_all_and_none_twice(seed, members):
    """No ban is within another, whoever was banned still is, and crowds are never left."""
    rand = random.Random(seed)
    lengths = {"prefix6": (64, 60, 56), "members": members}
    spec = JailSpec("j", FilterSpec("f", ()), maxretry=1, bantime=FOREVER, **lengths)
    jail = Jail(spec)
    prefixes = Prefixes(spec, jail, nobody, nobody)
    base, seen = int(IPv6Address("2001:db8::")), []
    for _ in range(40):
        address = IPv6Address(base | rand.getrandbits(9) << 64 | rand.getrandbits(2))
        ban = jail.add(prefixes.counted(Failure(NOW, str(address), address), NOW), NOW)
        for one in prefixes.settled(ban, NOW) if ban else ():
            seen.append(address)
            assert one.address == target(one.id)
        if rand.random() < 0.05 and jail.banned:
            gone = jail.unban(rand.choice(sorted(jail.banned)))
            seen = [each for each in seen if each not in gone.address]
    networks = [ban.address for ban in jail.banned.values()]

    assert all(any(address in network for network in networks) for address in seen)
    for network in networks:
        assert not any(network != other and network.subnet_of(other) for other in networks)
    for length in (60, 56):
        wholes = [net.supernet(new_prefix=length) for net in networks if net.prefixlen > length]
        assert all(wholes.count(whole) < members for whole in wholes)
