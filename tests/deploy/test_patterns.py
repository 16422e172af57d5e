# SPDX-License-Identifier: MIT
"""Do host patterns mean what they mean to Ansible?"""

import pytest

from stockade import patterns
from stockade.errors import InputError


@pytest.mark.parametrize(
    "written, names, port",
    [
        ("web", ["web"], None),
        ("web:2222", ["web"], 2222),
        ("web[1:3]", ["web1", "web2", "web3"], None),
        ("web[08:11].example", [f"web{n}.example" for n in ("08", "09", "10", "11")], None),
        ("web[0:6:3]", ["web0", "web3", "web6"], None),
        ("db-[a:e:2]", ["db-a", "db-c", "db-e"], None),
        ("r[1:2]h[a:b]:2200", ["r1ha", "r1hb", "r2ha", "r2hb"], 2200),
        ("web[:2]", ["web0", "web1", "web2"], None),
        ("192.0.2.[9:10]", ["192.0.2.9", "192.0.2.10"], None),
        ("2001:db8::7", ["2001:db8::7"], None),
        ("[2001:db8::7]:2222", ["2001:db8::7"], 2222),
        ("[2001:db8::7]", ["2001:db8::7"], None),
    ],
)
def test_expand(written, names, port):
    """Ranges stand for all their members, both ends included; a port may follow."""
    assert (names, port) == patterns.expand(written)


@pytest.mark.parametrize(
    "written, expected",
    [
        ("web[01:5]", "[01:5] must have as many digits at its end as at its beginning"),
        ("web[5:1]", "[5:1] ends before it begins"),
        ("web[a:5]", "[a:5] must go from number to number or from letter to letter"),
        ("web[1:5:0]", "[1:5:0] has no step"),
        ("web[1:", "'web[1:' is not a range: web[01:20], web[a:f] or web[0:10:2]"),
        ("web[1:999999999]", "[1:999999999] stands for more than 100000 hosts"),
        ("[1:1000]x[1:1000]", "'[1:1000]x[1:1000]' stands for 1000000 hosts, more than 100000"),
    ],
)
def test_expand_refuses(written, expected):
    """A range that cannot be meant is answered in words."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        patterns.expand(written)

    assert expected == str(caught.value)


NAMES = ("web1", "web2", "db1", "db2", "2001:db8::7")
GROUPS = {
    "all": NAMES,
    "web": ("web1", "web2"),
    "db": ("db1", "db2"),
    "rack1": ("web1", "db1"),
    "empty": (),
}


@pytest.mark.parametrize(
    "limit, expected",
    [
        ("all", NAMES),
        ("*", NAMES),
        ("web1", ("web1",)),
        ("db,web1", ("web1", "db1", "db2")),
        ("db:web1", ("web1", "db1", "db2")),
        ("web*", ("web1", "web2")),
        ("?b1", ("db1",)),
        ("web:&rack1", ("web1",)),
        ("all:!web", ("db1", "db2", "2001:db8::7")),
        ("!web", ("db1", "db2", "2001:db8::7")),
        ("&rack1", ("web1", "db1")),
        ("!web1,web,&rack1,db", ("db1",)),
        ("~(web|db)2", ("web2", "db2")),
        ("web[0]", ("web1",)),
        ("web[-1]", ("web2",)),
        ("all[1:2]", ("web2", "db1")),
        ("all[3:]", ("db2", "2001:db8::7")),
        ("web[ab12]", ("web1", "web2")),
        ("web[0],all[4]", ("web1", "2001:db8::7")),
        ("2001:db8::7", ("2001:db8::7",)),
        (" web1 , db1 ", ("web1", "db1")),
    ],
)
def test_select(limit, expected):
    """A limit chooses hosts in the inventory's order; exclusions come last wherever they stand."""
    assert expected == patterns.select(limit, GROUPS, NAMES)


@pytest.mark.parametrize(
    "limit, expected",
    [
        ("wbe", "no host or group matches 'wbe' (did you mean web?)"),
        ("web,!dbb", "no host or group matches 'dbb' (did you mean db?)"),
        ("x*", "no host or group matches 'x*'"),
        ("web:!web", "'web:!web' leaves no host"),
        ("empty", "'empty' leaves no host"),
        ("", "names no host"),
        (" , ", "names no host"),
        ("web,!", "'!' stands alone in 'web,!'"),
        ("~[", "'~[': unterminated character set at position 0"),
        ("web[7]", "'web[7]': there are 2 hosts"),
        ("wbe[0]", "no host or group matches 'wbe' (did you mean web?)"),
    ],
)
def test_select_refuses(limit, expected):
    """A limit that matches nothing is an error: nobody means to push to no host, or to all."""
    with pytest.raises(InputError) as caught:
        patterns.select(limit, GROUPS, NAMES)

    assert f"--limit: {expected}" == str(caught.value)
