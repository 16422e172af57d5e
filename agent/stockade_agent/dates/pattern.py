# SPDX-License-Identifier: MIT
r"""One ``datepattern``: tokens and boundaries of the date language, compiled to a regex.

A pattern is a regex with strptime's tokens in it. What it is allowed to touch on its left and
right is implied (a word boundary) unless the pattern says it: ``^``, ``$``, ``\b``, ``**`` on
that side, ``{^LN-BEG}`` or ``{UNB}`` in front. Group 1 is what is cut out of the line; a
pattern without a plain group is cut out whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Callable, NamedTuple, Optional

from stockade_agent.dates.moment import DAYS, MONTHS, moment
from stockade_agent.dates.zones import ABBREVIATION, OFFSET
from stockade_agent.errors import RegexError


LINE_BEGIN = "{^LN-BEG}"
UNBOUND = "{UNB}"

_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FULL_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_FIRST_YEAR = 2000
_YEARS_AHEAD = 3

_HOUR, _MINUTE, _SECOND = r"[0-1]?\d|2[0-3]", r"[0-5]?\d", r"[0-5]?\d|6[0-1]"
_WEEK = r"5[0-3]|[0-4]\d|\d"


def _named(field: str, regex: str) -> str:
    return f"(?P<{field}>{regex})"


def _words(field: str, words: tuple[str, ...]) -> str:
    return _named(field, "|".join(sorted(words, key=len, reverse=True)))


_DAY, _MONTH = _named("d", r"[1-2]\d|[0 ]?[1-9]|3[0-1]"), _named("m", r"0?[1-9]|1[0-2]")
_CLOCK = ":".join((_named("H", _HOUR), _named("M", _MINUTE), _named("S", _SECOND)))

# Token -> regex. Those with Ex want exactly the digits that their name says; Y and y under
# Ex are this century's only (see `years`).
_TOKENS: dict[str, str] = {
    "%": "%",
    "A": _words("A", _FULL_DAYS),
    "B": _words("B", _FULL_MONTHS),
    "G": _named("G", r"\d{4}"),
    "H": _named("H", _HOUR),
    "I": _named("I", r"1[0-2]|0[1-9]|[1-9]"),
    "M": _named("M", _MINUTE),
    "S": _named("S", _SECOND),
    "U": _named("U", _WEEK),
    "V": _named("V", r"5[0-3]|0[1-9]|[1-4]\d|\d"),
    "W": _named("W", _WEEK),
    "X": _CLOCK,
    "Y": _named("Y", r"\d{4}"),
    "Z": _named("Z", r"Z|[A-Z]{3,5}"),
    "a": _words("a", DAYS),
    "b": _words("b", MONTHS),
    "c": rf"{_words('a', DAYS)}\s+{_words('b', MONTHS)}\s+{_DAY}\s+{_CLOCK}\s+" + r"(?P<Y>\d{4})",
    "d": _DAY,
    "f": _named("f", r"[0-9]{1,6}"),
    "j": _named("j", r"36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9]"),
    "k": r" ?" + _named("H", r"[0-2]?\d"),
    "l": r" ?" + _named("I", r"1?\d"),
    "m": _MONTH,
    "p": _words("p", ("am", "pm")),
    "u": _named("u", r"[1-7]"),
    "w": _named("w", r"[0-6]"),
    "x": f"{_MONTH}/{_DAY}/" + r"(?P<y>\d{2})",
    "y": _named("y", r"\d{2}"),
    "z": _named("z", rf"Z|UTC|GMT|{OFFSET}"),
    "ExH": _named("H", r"[0-1]\d|2[0-3]"),
    "ExM": _named("M", r"[0-5]\d"),
    "ExS": _named("S", r"[0-5]\d|6[0-1]"),
    "ExZ": _named("Z", ABBREVIATION),
    "Exd": _named("d", r"[1-2]\d|0[1-9]|3[0-1]"),
    "Exk": r" ?" + _named("H", r"[0-1]?\d|2[0-3]"),
    "Exl": r" ?" + _named("I", r"1[0-2]|\d"),
    "Exm": _named("m", r"0[1-9]|1[0-2]"),
    "Exy": _named("y", r"\d{2}"),
    "Exz": _named("z", rf"(?:{ABBREVIATION})?{OFFSET}|{ABBREVIATION}"),
}
_TOKEN = re.compile(
    "%(" + "|".join(sorted((*_TOKENS, "ExY"), key=len, reverse=True)) + "|.|$)", re.DOTALL
)
_ENDS_IN_WORD = re.compile(r"%(?:Ex)?[A-Za-z]\s*$")
_LETTERED = re.compile(r"(?<!%)%[aAbBpc]")
_FLAGS = re.compile(r"\(\?[a-z]+\)")
_PLAIN_GROUP = re.compile(r"(?<!\(\?)(?<!\\)\((?!\?)")
_SAYS_BEGIN = re.compile(r"\(*(?:\(\?\w+\))?(?:\^|\(*\*\*|\((?:\?:)?\^)")
_SAYS_END = re.compile(r"(?<!\\)(?:\$\)?|\\b|\\s|\*\*\)*)$")
_AT_LINE_BEGIN = re.compile(r"\^|\((?:\?:)?\^(?!\|)")
_AT_LINE_END = re.compile(r"(?<![\\|])\$\)?$")
_STARS_BEGIN, _STARS_END = re.compile(r"^\(*(?:\(\?\w+\))?\(*\*\*"), re.compile(r"(?<!\\)\*\*\)*$")

_WORD_BEGIN, _WORD_END = r"(?=^|\b|\W)", r"(?=\b|\W|$)"
_NEAR_LINE_BEGIN = r"^(?:\W{0,2})?"
_NEAR = 2
_WORDLY = re.compile(r"\w")
# Simple atoms, then a mark, then the group: the mark always stands before what is cut out.
_LEFT = re.compile(
    r"\^(?:\[\^?(?:\\.|[^\]\\])+\][*+?]?|\\.[*+?]?|[^\\\[\](){}|?*+.^$][*+?]?)*?\\([^\w\s])\((?!\?)"
)

Parse = Callable[["re.Match[str]", float, Optional[int]], Optional[float]]

_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


class Template(NamedTuple):
    """One way to find and read a date.

    Attributes:
        name: equal for templates that are the same.
        source: the regex, not compiled yet; its group 1 is the date's text.
        anchored: it matches at the begin or end of a line only.
        at_begin: at the begin.
        clean_cut: what it cuts out begins the line, or is never followed by a word character.
        margin: so many characters at most stand before what is cut out, none of a word; -1: any.
        left: the character that always stands there, or "" where it may be any.
        weight: how strongly its hits count when templates are reordered.
    """

    name: str
    source: str
    parse: Parse
    anchored: bool
    at_begin: bool
    clean_cut: bool
    margin: int = -1
    left: str = ""
    weight: float = 1.0

    def compiled(self) -> re.Pattern[str]:
        """Return the regex.

        Raises:
            RegexError: it is none.
        """
        try:
            return re.compile(self.source)
        except (re.error, RecursionError, OverflowError) as exc:
            raise RegexError(
                f"does not compile: {exc}: {self.name!r}",
                option="datepattern",
                position=getattr(exc, "pos", None),
            ) from exc

    def tears(self, word: str, offset: int) -> set[int]:
        """Return the places at which a word of a line without its date may have been joined.

        Args:
            word: ASCII.
            offset: so many characters of the line stand before it, at least.
        """
        places = range(1, len(word))
        if self.margin >= 0:
            most = self.margin - offset
            return {i for i in places if i <= most and not _WORDLY.search(word[:i])}
        if self.left:
            return {i for i in places if word[i - 1] == self.left}
        if self.clean_cut:
            return {i for i in places if not _WORDLY.match(word, i)}
        return set(places)


def years(now: float, first: int = _FIRST_YEAR) -> str:
    """Return the regex of ``%ExY``: the decades from ``first`` to three years ahead.

    Args:
        now: any time of the present year.
        first: a lower one accepts old logs, as the ``regex`` tool does.
    """
    # A mean year is exact enough: decades are what count, and the host's zone does not.
    this_year = int(1970 + now / (365.2425 * 86400))
    decades = range(first // 10, (this_year + _YEARS_AHEAD) // 10 + 1)
    return rf"(?:{'|'.join(map(str, decades))})\d"


def fields_template(pattern: str, exact_years: str) -> Template:
    """Return the template of a pattern made of tokens and regex.

    ``exact_years`` is what ``years`` gave.

    Raises:
        RegexError: the pattern has a ``%`` that begins no token.
    """
    begin, end, near = True, True, False
    text = pattern
    if text.startswith(UNBOUND):
        text, begin, end = text[len(UNBOUND) :], False, False
    elif text.startswith(LINE_BEGIN):
        text, near = text[len(LINE_BEGIN) :], True
    tokens: Mapping[str, str] = {**_TOKENS, "ExY": _named("Y", exact_years)}

    def expand(match: re.Match[str]) -> str:
        if match[1] not in tokens:
            raise RegexError(
                f"no token begins with {match[0]!r} in {pattern!r}",
                option="datepattern",
                position=match.start(),
                remedy="write %% for a percent sign",
            )
        return tokens[match[1]]

    regex = _TOKEN.sub(expand, text)
    if _LETTERED.search(text):
        regex = "(?iu)" + regex
    clean = end and not _PLAIN_GROUP.search(regex) and bool(_ENDS_IN_WORD.search(text))
    return _template(pattern, regex, read_fields, begin=begin, end=end, near=near, clean_cut=clean)


_EPOCH = r"\d{10,11}\b(?:\.\d{3,6})?"
_LONG_EPOCH = r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?"
_EPOCH_PLACE = re.compile(r"(?<!\\)\{L?EPOCH\}", re.IGNORECASE)


def special_template(pattern: str) -> Optional[Template]:
    """Return the template of an EPOCH, LEPOCH or TAI64N pattern, None for any other."""
    upper = pattern.upper()
    place = _EPOCH_PLACE.search(pattern)
    if place:
        long = "LEPOCH" in upper
        number = f"({_LONG_EPOCH if long else _EPOCH})"
        regex = _EPOCH_PLACE.sub(lambda _: number, pattern)
        if not _PLAIN_GROUP.search(pattern):
            regex = f"({regex})"
        return _template(pattern, regex, _read_epoch(2, long=long))
    if "%" in pattern:
        return None
    for prefix in ("", LINE_BEGIN, "^"):
        near = prefix != ""
        name = (LINE_BEGIN if near else "") + upper[len(prefix) :]
        if upper in (prefix + "EPOCH", prefix + "LEPOCH"):
            long = upper.endswith("LEPOCH")
            number = _LONG_EPOCH if long else _EPOCH
            # Alone it stands at the line's begin, bare or in brackets, or in an audit record.
            if near:
                regex = rf"((?P<square>(?<=^\[))?{number})(?(square)(?=\]))"
            else:
                regex = (
                    rf"((?:^|(?P<square>(?<=^\[))|(?P<selinux>(?<=\baudit\())){number})"
                    r"(?:(?(selinux)(?=:\d+\)))|(?(square)(?=\])))"
                )
            parse = _read_epoch(1, long=long)
            return _template(name, regex, parse, begin=near, near=near, clean_cut=True)
        if upper == prefix + "TAI64N":
            return _template(
                name, "@[0-9a-f]{24}", _read_tai64n, begin=near, near=near, clean_cut=True
            )
    return None


def _template(
    name: str,
    regex: str,
    parse: Parse,
    *,
    begin: bool = True,
    end: bool = True,
    near: bool = False,
    clean_cut: bool = False,
) -> Template:
    regex = regex.strip()
    flags = _FLAGS.search(regex)
    if flags:
        regex = regex[: flags.start()] + regex[flags.end() :]
    begin = begin and not _SAYS_BEGIN.match(regex)
    end = end and not _SAYS_END.search(regex)
    if not _PLAIN_GROUP.search(regex):
        regex = _grouped(regex)
    if begin:
        regex = (_NEAR_LINE_BEGIN if near else _WORD_BEGIN) + regex
    at_begin = bool(_AT_LINE_BEGIN.match(regex))
    if end:
        regex += _WORD_END
    at_end = bool(_AT_LINE_END.search(regex))
    regex = _STARS_BEGIN.sub(_without_stars, regex, count=1)
    regex = _STARS_END.sub(_without_stars, regex)
    margin, left = -1, None
    if _one_branch(regex):
        left = _LEFT.match(regex)
        for most, start in ((0, "^("), (_NEAR, _NEAR_LINE_BEGIN + "(")):
            if regex.startswith(start) and not regex.startswith(start + "?"):
                margin = most
    return Template(
        name,
        (flags.group() if flags else "") + regex,
        parse,
        at_begin or at_end,
        at_begin,
        clean_cut or margin == 0,
        margin,
        left[1] if left else "",
    )


def _one_branch(regex: str) -> bool:
    """Return whether a regex has alternatives inside its groups only."""
    depth = 0
    for char in _ATOM.sub("", regex):
        depth += (char == "(") - (char == ")")
        if char == "|" and not depth:
            return False
    return True


def _grouped(regex: str) -> str:
    """Put all but a leading ``^`` and a trailing ``$`` into group 1."""
    begin = "^" if regex.startswith("^") else ""
    end = "$" if regex.endswith("$") and len(regex) > len(begin) else ""
    return f"{begin}({regex[len(begin) : len(regex) - len(end)]}){end}"


def _without_stars(match: re.Match[str]) -> str:
    return match.group().replace("**", "")


def read_fields(match: re.Match[str], now: float, zone: Optional[int]) -> Optional[float]:
    """Return the time that the fields of a template say."""
    return moment(match.groupdict(), now, zone)


def _read_epoch(group: int, *, long: bool) -> Parse:
    def read(match: re.Match[str], now: float, zone: Optional[int]) -> Optional[float]:
        del now, zone  # an epoch needs neither
        text = match[group]
        if not long or len(text) < len("1577836800000"):
            return float(text)
        micro = len(text) >= len("1577836800000000") and "." not in text
        return float(text) / (1_000_000 if micro else 1000)

    return read


def _read_tai64n(match: re.Match[str], now: float, zone: Optional[int]) -> Optional[float]:
    del now, zone
    # 2**62 + seconds, then nanoseconds: as fail2ban reads it, TAI's leap seconds left in.
    return float(int(match[1][2:17], 16))
