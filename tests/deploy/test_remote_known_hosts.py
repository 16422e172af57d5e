# SPDX-License-Identifier: MIT
"""Whose key is whose, in every form that known_hosts has?"""

import base64
import hashlib
import hmac

import pytest

from stockade.errors import InputError
from stockade.remote import HostKey, KnownHosts, known_line


KEY = HostKey("ssh-ed25519", b"the first key")
OTHER = HostKey("ssh-rsa", b"the other key")


def line(names, key=KEY, marker=""):
    return f"{marker}{names} {key.kind} {base64.b64encode(key.blob).decode()} comment\n"


def hashed(name):
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


@pytest.mark.parametrize(
    "names, address, port, found",
    [
        pytest.param("web1", "web1", 22, True, id="name"),
        pytest.param("WEB1", "web1", 22, True, id="case-does-not-matter"),
        pytest.param("a,web1,192.0.2.1", "192.0.2.1", 22, True, id="one-of-several"),
        pytest.param("web1", "web1", 2222, False, id="another-port"),
        pytest.param("[web1]:2222", "web1", 2222, True, id="port"),
        pytest.param("[web1]:2222", "web1", 22, False, id="port-is-not-22"),
        pytest.param("*.example", "web1.example", 22, True, id="star"),
        pytest.param("web?.example", "web12.example", 22, False, id="question-mark-is-one"),
        pytest.param("*.example,!web1.example", "web1.example", 22, False, id="negated"),
        pytest.param("[*.example]:2222", "web1.example", 2222, True, id="pattern-with-port"),
        pytest.param(hashed("web1"), "web1", 22, True, id="hashed"),
        pytest.param(hashed("web1"), "web2", 22, False, id="hashed-other"),
        pytest.param("2001:db8::1", "2001:db8::1", 22, True, id="ipv6"),
        pytest.param("[2001:db8::1]:2222", "2001:db8::1", 2222, True, id="ipv6-port"),
    ],
)
def test_lookup(tmp_path, names, address, port, found):
    """Names, lists, ports, patterns and hashes are understood as OpenSSH does."""
    known = KnownHosts(tmp_path, line(names))

    assert ((KEY,) if found else ()) == known.lookup(address, port)


def test_revoked_keys_are_not_found(tmp_path):
    """A revoked key counts for no host, whatever names its line has."""
    known = KnownHosts(tmp_path, line("web1") + line("web1", OTHER) + line("*", KEY, "@revoked "))

    assert ((OTHER,), True) == (known.lookup("web1", 22), known.revoked(KEY))


@pytest.mark.parametrize(
    "text, number",
    [
        pytest.param("# comment\n\nweb1 ssh-ed25519\n", 3, id="no-key"),
        pytest.param("web1 ssh-ed25519 !!!\n", 1, id="not-base64"),
        pytest.param(line("*.example", KEY, "@cert-authority "), 1, id="cert-authority"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, number):
    """A file that cannot be understood as a whole is not used at all."""
    path = tmp_path / "known_hosts"
    path.write_text(text)

    with pytest.raises(InputError) as caught:
        KnownHosts.load(path)

    assert (str(path), number) == (caught.value.path, caught.value.line)


def test_a_missing_file_is_empty(tmp_path):
    """Without a file no host is known."""
    assert () == KnownHosts.load(tmp_path / "known_hosts").lookup("web1", 22)


def test_approve_appends_and_keeps_the_rest(tmp_path):
    """New keys come after what was there, even where its last line has no end."""
    path = tmp_path / "known_hosts"
    path.write_text("# ours\n" + line("web1").rstrip("\n"))

    KnownHosts.load(path).approve([("192.0.2.2", 22, OTHER), ("192.0.2.3", 2222, KEY)])

    assert path.read_text().startswith("# ours\n" + line("web1"))
    known = KnownHosts.load(path)
    assert ((KEY,), (OTHER,), (KEY,)) == (
        known.lookup("web1", 22),
        known.lookup("192.0.2.2", 22),
        known.lookup("192.0.2.3", 2222),
    )
    assert known_line("192.0.2.3", 2222, KEY).startswith("[192.0.2.3]:2222 ssh-ed25519 ")


def test_fingerprints_are_those_of_ssh_keygen():
    """SHA256, base64, without padding."""
    digest = base64.b64encode(hashlib.sha256(KEY.blob).digest()).decode().rstrip("=")

    assert f"SHA256:{digest}" == KEY.fingerprint
