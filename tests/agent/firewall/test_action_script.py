# SPDX-License-Identifier: MIT
"""Does a value reach an action's command as data, whatever it is and wherever it stands?"""

import os
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.script import LONGEST, Slot, compiled


SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
CANARY = "pwned"
# What has broken out of shells, printf, mail and interpreters before.
BREAKOUTS = st.sampled_from(
    (
        *("'", '"', "`", "$", "\\", "\n", "\r", "\t", " ", ";", "|", "&", "#", "!", "~", "(", ")"),
        *("{", "}", "<", ">", "*", "?", "[", "]", "%", "%s", "%n", "\\n", "\\c", "\\0", "\\047"),
        *("$(touch pwned)", "`touch pwned`", "; touch pwned;", "\ntouch pwned\n", "&&touch pwned"),
        *("'; touch pwned; '", '"; touch pwned; "', "a[$(touch pwned)]", "${IFS}", "$f2bV_F_x"),
        *("\n~!touch pwned", "~!touch pwned", "\\n~!touch pwned\\n", "\nEOF\ntouch pwned\n"),
        *("'\"'\"'", "-e", "-n", "$((", "))", "\\\\", "');os.system('touch pwned')#", "*/", "x"),
        *('"; system("touch pwned"); print "', "@{[`touch pwned`]}", "\n.\n", "\0", "caf\u00e9"),
        *("'; system('touch pwned'); print '", "'); open('pwned', 'w'); ('", "$(touch${IFS}pwned)"),
        *("() { :;}; touch pwned", "\udc80", "\ud800", "f2bV_F_x", "EOF", "2001:db8::1", "root"),
    )
)
VALUES = st.lists(BREAKOUTS | st.text(max_size=3), max_size=8).map("".join)
SPECIAL = set("\\#&;`|*?~<>^()[]{}$'\"\n\r")


class One:
    """The source of one value for every tag."""

    def __init__(self, value):
        self.value = value

    def __getitem__(self, tag):
        return self.value


def sent(value):
    """Return what a variable that holds the value holds."""
    text = value.replace("\0", "\ufffd")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def guarded(value):
    """Return what someone else's code gets: the value if it can do no harm there, or a word."""
    return b"$f2bV_F_x" if SPECIAL & set(value) else sent(value)


def mailed(value):
    """Return what a mail program gets: no line begins with a tilde."""
    return b"\n".join(b" " + x if x.startswith(b"~") else x for x in sent(value).split(b"\n"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a mail program that obeys tilde escapes, and files to be globbed."""
    path = tmp_path_factory.mktemp("shell")
    (path / "a file").write_text("")
    mail = path / "mail"
    mail.write_text(
        '#!/bin/sh\nwhile IFS= read -r line || [ -n "$line" ]; do case $line in\n'
        "'~!'*) sh -c \"${line#??}\";; esac; printf '%s\\n' \"$line\"; done\n"
    )
    mail.chmod(0o755)
    return path


def run(shell, folder, script, value):
    """Return what a command prints and its status, and whether it was made to do more."""
    source = One(value)
    echo = subprocess.run(
        (*argv(shell), r"echo '\\'"), stdout=subprocess.PIPE, check=True, env=environment(folder)
    )
    variables = script.environment(source, echo_escapes=echo.stdout == b"\\\n")
    done = subprocess.run(
        (*argv(shell), script.text),
        cwd=folder,
        env={**environment(folder), **{os.fsencode(k): v for k, v in variables.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    canary = folder / CANARY
    if canary.exists():
        canary.unlink()
        pytest.fail(f"{shell} executed {value!r}:\n{script.text}")
    return done.stdout, done.returncode


def argv(shell):
    return (shell, "sh", "-c") if shell == "busybox" else (shell, "-c")


def environment(folder):
    return {b"PATH": os.fsencode(f"{folder}:/usr/bin:/bin"), b"LC_ALL": b"C.UTF-8"}


PLACES = {
    "bare": ("printf '%s|' a <F-X> b", lambda v: b"a|" + (v + b"|" if v else b"") + b"b|", sent),
    "bare-within-a-word": ("printf '%s|' a<F-X>b", lambda v: b"a" + v + b"b|", sent),
    "behind-a-backslash": (r"printf '%s|' \<F-X>.", lambda v: v + b".|", sent),
    "double": ('printf "%s|" "<F-X>"', lambda v: v + b"|", sent),
    "double-behind-a-backslash": (r'printf "%s|" "\<F-X>"', lambda v: b"\\" + v + b"|", sent),
    "single": ("printf '%s|' 'a<F-X>b'", lambda v: b"a" + v + b"b|", guarded),
    "assigned": ("x=<F-X>; printf '%s|' \"$x\"", lambda v: v + b"|", sent),
    "default": ("printf '%s|' \"${none:-<F-X>}\"", lambda v: v + b"|", sent),
    "substituted": ('printf %s "$(printf \'%s|\' "<F-X>")"', lambda v: v + b"|", sent),
    "substituted-bare": ("printf %s \"$(printf '%s|' x<F-X>)\"", lambda v: b"x" + v + b"|", sent),
    "backticks": ('printf %s "`printf \'%s|\' "<F-X>"`"', lambda v: v + b"|", sent),
    "backticks-within": (
        "printf %s \"`printf %s \\`printf '%s' '<F-X>'\\` | tr -d ' '`\"",
        lambda v: v.replace(b" ", b""),
        lambda v: None if set(v) & set("\t \v\f\x85\xa0") else guarded(v),
    ),
    "document": ("cat <<EOF\n<F-X>|\nEOF", lambda v: v + b"|\n", sent),
    "document-in-quotes": ("cat <<'EOF'\n$x <F-X>|\nEOF", lambda v: b"$x " + v + b"|\n", guarded),
    "document-with-tabs": ("cat <<-EOF\n\t<F-X>|\n\tEOF", lambda v: v + b"|\n", sent),
    "case": (
        "case <F-X> in root) printf root;; *) printf '%s' \"<F-X>\";; esac",
        lambda v: v,
        sent,
    ),
    "loop": (
        "for x in <F-X>; do printf '%s|' \"$x\"; done",
        lambda v: v + b"|" if v else b"",
        sent,
    ),
    "escapes": (r'printf %b "<F-X>\n"', lambda v: v + b"\n", sent),
    "escapes-bare": (r"printf -- '%b' x<F-X>", lambda v: b"x" + v, sent),
    "escapes-in-turn": (
        r'printf "%s %b|" s "<F-X>" "<F-X>" b',
        lambda v: b"s " + v + b"|" + v + b" b|",
        sent,
    ),
    "format": (r'printf ".<F-X>\n"', lambda v: b"." + v + b"\n", sent),
    "echo": ('echo "x<F-X>"', lambda v: b"x" + v + b"\n", sent),
    "comment": ("printf x # '<F-X>\nprintf y", lambda v: b"xy", sent),
    "group": ("{ ( printf '%s' \"<F-X>\"; ) && printf '|'; } 2>&1", lambda v: v + b"|", sent),
    "function": ("f() { printf %b \"$1<F-X>\"; }; f '|'", lambda v: b"|" + v, sent),
    "inner-shell": ("sh -c \"printf '%s|' '<F-X>'\"", lambda v: v + b"|", guarded),
    "inner-shell-in-single": ('sh -c \'printf "%s|" "<F-X>"\'', lambda v: v + b"|", sent),
    "inner-shell-argument": ('sh -c \'printf "%s|" "$1"\' x "<F-X>"', lambda v: v + b"|", sent),
    "eval": ('eval "printf \'%s|\' \\"<F-X>\\""', lambda v: v + b"|", sent),
    "piped-to-a-shell": ('echo "printf \'%s|\' \\"<F-X>\\"" | sh', lambda v: v + b"|", sent),
    "shell-document": ("sh <<EOF\nprintf '%s|' \"<F-X>\"\nEOF", lambda v: v + b"|", sent),
    "mail": ('printf %b "<F-X>\\n" | mail root', lambda v: v + b"\n", mailed),
    "mail-plain": ("( printf '%s\\n' \"<F-X>\"; true ) | mail -s x", lambda v: v + b"\n", mailed),
    "mail-loop": (
        "for x in 1; do if true; then printf '%s\\n' \"<F-X>\"; fi; done | mail",
        lambda v: v + b"\n",
        mailed,
    ),
    "mail-document": ("mail root <<EOF\n<F-X>\nEOF", lambda v: v + b"\n", mailed),
    "awk": ('awk \'BEGIN { printf "%s|", ENVIRON["f2bV_F_x"] }\' "<F-X>"', None, None),
    "awk-program": ('awk "BEGIN { print \\"<F-X>\\" }"', None, None),
    "perl-program": ("perl -e \"print '<F-X>';\"", None, None),
    "python-program": ("python3 -c \"print('<F-X>')\"", None, None),
    "double-brackets": ("[[ <F-X> -gt 0 ]] && printf y", None, None),
    "double-parentheses": ("if ((<F-X> > 0)); then printf y; fi", None, None),
    "let": ('let "x = <F-X>"', None, None),
    "numbers": ("printf %s $((<F-X> + 0))", None, None),
}
INTERPRETED = (
    '"; system("touch pwned"); print "',
    "'; system('touch pwned'); print '",
    "'); open('pwned', 'w'); ('",
)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=25, deadline=None)
@example(value="'; touch pwned; '\"$(touch pwned)`touch pwned`\n~!touch pwned\\n~!touch pwned\\c%s")
@example(value=INTERPRETED[0])
@example(value=INTERPRETED[1])
@example(value=INTERPRETED[2])
@example(value="a[$(touch pwned)]")
@example(value="two  words * ?")
@example(value="root")
@example(value="")
@given(value=VALUES)
def test_nothing_but_the_value_arrives(shell, place, folder, value):
    """In every quoting context a hostile value is data: it arrives as it is, and does nothing."""
    text, expected, form = PLACES[place]

    printed, _ = run(shell, folder, compiled(text), value)

    arrives = None if form is None else form(value)
    if arrives is not None:
        assert expected(arrives) == printed


@pytest.mark.parametrize(
    "text, form",
    [
        pytest.param("logger <F-X>", "V", id="argument"),
        pytest.param("logger '<F-X>'", "Q", id="single-quotes"),
        pytest.param("/usr/bin/printf %b '' <F-X>", "B", id="printf-by-its-path"),
        pytest.param("printf '%.1000s' <F-X>", "V", id="printf-as-it-is"),
        pytest.param('printf "%d:%b" 1 "<F-X>"', "B", id="second-conversion"),
        pytest.param("printf -v x %b <F-X>", "B", id="printf-into-a-variable"),
        pytest.param("printf <F-X>", "F", id="format"),
        pytest.param("echo -n <F-X>", "E", id="echo"),
        pytest.param("echo -e <F-X>", "B", id="echo-that-obeys"),
        pytest.param("LC_ALL=C command printf %b <F-X>", "B", id="behind-an-assignment"),
        pytest.param("if printf %b <F-X>; then true; fi", "B", id="behind-a-keyword"),
        pytest.param("printf %b x > <F-X>", "V", id="file-it-prints-to"),
        pytest.param("printf %b x >&2 <F-X>", "B", id="behind-a-redirection"),
        pytest.param("printf %s x; logger %b <F-X>", "V", id="the-next-command"),
        pytest.param("printf %b x | logger <F-X>", "V", id="the-next-in-the-pipe"),
        pytest.param("printf %b $(logger <F-X>)", "V", id="inner-command"),
        pytest.param("printf %b <F-X> | mail x", "BM", id="mailed"),
        pytest.param("printf %b <F-X> | /usr/bin/mailx x", "BM", id="mailed-by-a-path"),
        pytest.param("printf %b <F-X> | sendmail x", "B", id="mailed-by-what-obeys-nothing"),
        pytest.param("echo x; printf %s <F-X> |\n cat | mail x", "VM", id="mailed-in-two-steps"),
        pytest.param("printf %s <F-X>; echo y | mail x", "V", id="another-is-mailed"),
        pytest.param("mail -s <F-X> root", "V", id="subject"),
        pytest.param("sh -c <F-X>", "Q", id="shell"),
        pytest.param("sudo -u x /bin/bash -ec <F-X>", "Q", id="shell-behind-another"),
        pytest.param("sh script <F-X>", "V", id="argument-of-a-script"),
        pytest.param("su -c <F-X> x", "Q", id="su"),
        pytest.param("ssh host add <F-X>", "Q", id="ssh"),
        pytest.param("perl -we <F-X>", "Q", id="perl"),
        pytest.param("perl script <F-X>", "V", id="argument-of-perl"),
        pytest.param("php -r <F-X>", "Q", id="php"),
        pytest.param("awk -F , <F-X> file", "Q", id="awk"),
        pytest.param("awk -v x=<F-X> '{}'", "V", id="awk-variable"),
        pytest.param("awk '{}' <F-X>", "V", id="awk-file"),
        pytest.param("sed -i -e <F-X> file", "Q", id="sed"),
        pytest.param("sed -e s/a/b/ <F-X>", "V", id="sed-file"),
        pytest.param("nft add element x \\{ <F-X> \\}", "Q", id="nft"),
        pytest.param("echo add <F-X> | ipset restore", "Q", id="piped-to-ipset"),
        pytest.param('mysql -e "insert <F-X>"', "Q", id="sql"),
        pytest.param('echo "insert <F-X>" | sqlite3 file', "Q", id="piped-to-sql"),
        pytest.param("echo <F-X> | at now + 1 hour", "Q", id="at"),
        pytest.param("echo <F-X> | sh -s", "Q", id="piped-to-a-shell"),
        pytest.param("echo <F-X> | sh script", "E", id="piped-to-a-script"),
        pytest.param("echo $((1 + <F-X>))", "N", id="number"),
        pytest.param("[[ 1 -lt <F-X> ]]", "N", id="compared"),
        pytest.param('[[ "<F-X>" == y && 1 -lt 2 ]]', "V", id="compared-as-text"),
        pytest.param("$( (logger <F-X>) )", "V", id="group-in-a-substitution"),
        pytest.param("case x in x) printf %b <F-X>;; esac", "B", id="within-case"),
        pytest.param("x=$(case y in y) echo z;; esac); printf %b <F-X>", "B", id="after-case"),
        pytest.param("cat <<E\n'\nE\nprintf %b <F-X>", "B", id="after-a-document"),
        pytest.param("cat <<'E' && printf %b <F-X>\n$(\nE", "B", id="before-a-document"),
        pytest.param("echo a#b; echo $# '#'; printf %b <F-X>", "B", id="no-comments"),
    ],
)
def test_what_a_command_does_to_its_words_decides_on_their_form(text, form):
    """A value comes in the form that whoever reads it leaves as it is."""
    assert [form] == [slot.form for slot in compiled(text).slots]


@pytest.mark.parametrize(
    "text, where",
    [
        pytest.param("echo $<F-X>", "behind $", id="dollar"),
        pytest.param("echo ${<F-X>}", "as the name", id="parameter"),
        pytest.param("x<F-X>=1 true", "name of a variable", id="assigned"),
        pytest.param("echo $'<F-X>'", "within $'", id="ansi-quotes"),
        pytest.param("cat <<<F-X>\n", "delimiter", id="delimiter"),
    ],
)
def test_where_no_value_can_stand(text, where):
    """A tag where the shell takes no variable is refused, with what to do instead."""
    with pytest.raises(FirewallError, match="no value can stand where <F-X>") as refused:
        compiled(text)

    assert where in str(refused.value)
    assert 'x="<F-X>"' in refused.value.remedy


def test_the_text_is_the_same_for_every_value():
    """What the shell parses depends on the configuration alone."""
    script = compiled('logger "<F-X>" <ip>')

    assert 'logger "${f2bV_F_x}" ${f2bV_ip:+"${f2bV_ip}"}' == script.text
    assert (Slot("f2bV_F_x", "F-X", "V"), Slot("f2bV_ip", "ip", "V")) == script.slots
    assert {"F-X", "ip"} == script.tags
    assert {"f2bV_F_x": b"';x", "f2bV_ip": b"';x"} == script.environment(One("';x"))


def test_a_command_without_tags_is_left_alone():
    """Text that no tag stands in is run as it is written."""
    text = "x=`echo '$y'` <<'E' > <file> <unknown>\n$(\nE"

    assert text == compiled(text).text


def test_names_that_look_alike_are_two_variables():
    """Two tags whose names differ only in what a variable's name cannot hold stay apart."""
    script = compiled("logger <F-A_B> <F-A-B>")

    assert ["f2bV_F_a_b", "f2bV_F_a_b_"] == [slot.variable for slot in script.slots]


def test_a_long_value_is_cut_off():
    """A value that no environment could hold arrives as far as it can; the command runs."""
    value = "\u00e9\\" * LONGEST

    (sent_,) = compiled('printf %b "<F-X>"').environment(One(value)).values()

    assert len(sent_) < 2 * LONGEST + 2
    assert value.startswith(sent_.decode().replace("\\\\", "\\"))


FRAGMENTS = st.sampled_from(
    (
        *("'", '"', "$(", ")", "(", "${x:-", "}", "$((", "))", "#", ";", "\n", " ", "|", "&&", "{"),
        *(
            "case x in",
            "esac",
            ";;",
            "if",
            "fi",
            "done",
            "for",
            "mail",
            "printf %b",
            "echo",
            ">",
            "<",
        ),
        *("[[", "]]", "$", "sh -c", "a", "=", "<F-X>", "<ip>"),
    )
)


@settings(deadline=None)
@given(fragments=st.lists(FRAGMENTS | st.sampled_from(("\\", "`", "<<E", "<<'E'\n", "\nE\n"))))
def test_any_text_can_be_read(fragments):
    """Text that no shell would take is read all the same, or refused in words."""
    try:
        script = compiled("".join(fragments))
    except FirewallError:
        return

    assert "\0" not in script.text


@settings(deadline=None)
@given(fragments=st.lists(FRAGMENTS))
def test_all_else_stays_as_it_is_written(fragments):
    """Nothing but the tags of a command is changed."""
    text = "".join(fragments)
    try:
        script = compiled(text)
    except FirewallError:
        return

    bare = script.text
    for name, tag in (("F_x", "<F-X>"), ("ip", "<ip>")):
        for form in ("V", "B", "E", "F", "Q", "N", "VM", "BM", "EM", "FM"):
            reference = f"${{f2b{form}_{name}}}"
            for written in (
                f'${{f2b{form}_{name}:+"{reference}"}}',
                f"'\"{reference}\"'",
                reference,
            ):
                bare = bare.replace(written, tag)
    assert text == bare
