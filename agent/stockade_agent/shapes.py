# SPDX-License-Identifier: MIT
"""What lines of one shape mean: judged once, true of all of them.

The shape of a line is the line with every digit as ``0``, and an IPv6 address as so many hex
digits. In an attack nearly all lines share a few hundred shapes. What a filter finds in a line
(which failregex matches, and where its groups stand) is the same for all lines of its shape, as
far as its regexes cannot tell digits apart: ``alike`` proves it, or names the few places of the
line that also count. So a line costs a look into a table, and the slices that differ.

Only printable ASCII is learned, whose date begins the line, and which came before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Callable, NamedTuple, Optional, Union

from stockade_agent.alike import DIGIT, HEX, alike
from stockade_agent.dates import DateDetector
from stockade_agent.failregex import ID_GROUPS, SESSION_GROUP, Groups, Pattern, Span
from stockade_agent.sessions import Said


MOST = 2048
"""Shapes of a generation; those of the last two are known."""

_HEX_BYTE, _OTHER = HEX.encode(), b"\x02"
NUMBERS = bytes.maketrans(b"0123456789" + _HEX_BYTE, DIGIT.encode() * 10 + _OTHER)
_HEXES = bytes.maketrans(b"0123456789abcdef", _HEX_BYTE * 16)
_CHARS = {DIGIT: "0123456789", HEX: "0123456789abcdef"}
_SIX = re.compile(rb"(?<![0-9A-Za-z:])[0-9a-f]{1,4}:[0-9a-f]{0,4}:[0-9a-f:]+")
# A shape is learned when it has been seen so often; later where the proof takes longer.
_SIGHTS, _LONGER = 2, 8
_MOST_SEEN, _MOST_VARIANTS, _MOST_DATES, _MOST_WALKS, _LONGEST = 4096, 16, 256, 512, 512


class Outcome(NamedTuple):
    """What a filter finds in lines of a shape.

    Attributes:
        number: the failregex; -1: none.
        said: what it says to its session, None for a line of none.
        groups: as ``Said.groups``; ``varying`` too.
    """

    number: int
    said: Optional[Said]
    groups: Groups
    varying: tuple[tuple[str, int, int], ...]


NOTHING = Outcome(-1, None, {}, ())
"""No failregex matches."""

Moments = dict[bytes, tuple[Optional[float], float]]
"""Date -> (time that its lines count for, None if too old; time that it is lent for)."""


class Shape:
    """What is known of a shape.

    Attributes:
        end: where the line's date ends; ``stop``: where what matched it does.
        moments: dates that are known already, of such lines.
        outcome: of all its lines; None: it depends on the characters that ``pick`` returns.
        outcomes: by these.
    """

    __slots__ = ("end", "moments", "outcome", "outcomes", "pick", "stop")

    def __init__(
        self, end: int, stop: int, moments: Moments, places: Sequence[int], outcome: Outcome
    ) -> None:
        self.end, self.stop, self.moments = end, stop, moments
        self.outcome = None if places else outcome
        self.pick: Callable[[bytes], object] = itemgetter(*places) if places else bytes
        self.outcomes: dict[object, Outcome] = {}


class Shapes:
    """The shapes that a filter has met.

    Args:
        prefregex: empty, or the one.
        promising: returns the failregexes that are tried on a text, with their numbers.
        detector: of the filter's dates.

    Attributes:
        young: those that were met lately, by their text.
    """

    def __init__(
        self,
        prefregex: Sequence[Pattern],
        promising: Callable[[str], Sequence[tuple[int, Any, Pattern]]],
        detector: DateDetector,
    ) -> None:
        self._prefregex, self._promising, self._detector = prefregex, promising, detector
        self.young: dict[bytes, Shape] = {}
        self._old: dict[bytes, Shape] = {}
        self._seen: dict[int, int] = {}
        self._usual: Optional[re.Pattern[str]] = None
        self._dates: dict[tuple[str, int, int], Moments] = {}
        self._same: dict[object, Any] = {}
        self._looks: set[int] = set()
        self._walked: dict[tuple[Pattern, str], int] = {}
        self._begin = 0
        self._when: object = None

    def judged_by(self, when: object) -> None:
        """Know no date any more, unless dates are judged by the same as before."""
        if self._detector.usual is not self._usual:
            self.forget()
        if when != self._when:
            self._when = when
            for moments in self._dates.values():
                moments.clear()

    def other(self, raw: bytes, key: bytes) -> Optional[Shape]:
        """Return what is known of a line whose shape is not among the ``young``.

        Args:
            raw: the line.
            key: the same, by ``NUMBERS``.
        """
        wide = self._wide(raw, key)
        found = self.young.get(wide) if wide is not key else None
        if found is None:
            found = self._old.get(wide)
            if found is not None:
                self._keep(wide, found)
        return found

    def _wide(self, raw: bytes, key: bytes) -> bytes:
        """Return the shape of a line, where there may be an IPv6 address."""
        six = _SIX.search(raw, self._begin)
        if six is None or _HEX_BYTE in raw:
            return key
        begin, end = six.span()
        return key[:begin] + raw[begin:end].translate(_HEXES) + key[end:]

    def learn(self, raw: bytes) -> None:
        """Learn what a line's shape means, if it comes often and it can be proved."""
        usual = self._detector.usual
        if usual is not self._usual:
            self.forget()
        if usual is None or len(raw) > _LONGEST:
            return
        if not self._begin:  # a time of day is no address
            match = usual.match(raw.decode("latin-1"))
            self._begin = match.end(1) if match else 0
        key = self._wide(raw, raw.translate(NUMBERS))
        known = self.young.get(key)
        if known is None:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            mark = hash(key)
            sights = self._seen[mark] = self._seen.get(mark, 0) + 1
            # Once only, whatever comes of it.
            if sights != (_LONGER if _HEX_BYTE in key else _SIGHTS):
                return
        if known is None or (known.outcome is None and len(known.outcomes) < _MOST_VARIANTS):
            text = raw.decode("latin-1")
            if text.isascii() and text.isprintable():
                learned = self._learned(text, key.decode())
                if learned is not None:
                    shape, outcome = learned
                    if known is None:
                        self._keep(key, shape)
                        known = shape
                    known.outcomes[known.pick(raw)] = outcome

    def forget(self) -> None:
        """Forget all shapes: dates look different now."""
        for table in (self.young, self._old, self._seen, self._dates, self._same, self._looks):
            table.clear()
        self._usual, self._begin = self._detector.usual, 0

    def _keep(self, key: bytes, shape: Shape) -> None:
        if len(self.young) >= MOST:
            self._old, self.young = self.young, {}
            self._same.clear()
        self.young[key] = shape

    # ---- the proof

    def _learned(self, text: str, shape: str) -> Optional[tuple[Shape, Outcome]]:
        """Return what a shape means, and of a line of it; None where nothing is proved."""
        match = self._usual.match(text) if self._usual else None
        if match is None or match.start(1) != 0 or not match.end(1):
            return None
        end, stop = match.end(1), match.end()
        moments = self._moments(shape, end, stop)
        found = None if moments is None else self._outcome(text, shape, end)
        if moments is None or found is None:
            return None
        places, outcome = found
        picked = [place for place in range(places.bit_length()) if places >> place & 1]
        self._begin = end
        return Shape(end, stop, moments, picked, outcome), outcome

    def _moments(self, shape: str, end: int, stop: int) -> Optional[Moments]:
        """Return where dates of such lines are noted.

        What matches the date may tell all its digits apart, but none behind it.
        """
        for length in self._looks:
            moments = self._dates.get((shape[:length], end, stop))
            if moments is not None:
                return moments
        tree = alike(self._usual) if self._usual else None
        if tree is None or not tree.known:
            return None
        tested = tree.tested(shape, anywhere=False)
        if tested is None or tested.places >> end or tested.furthest >= len(shape):
            return None
        # So far it looks: lines of other shapes that begin like this have their dates in common.
        self._looks.add(tested.furthest + 1)
        key = shape[: tested.furthest + 1], end, stop
        if len(self._dates) >= _MOST_DATES and key not in self._dates:
            return None
        return self._dates.setdefault(key, {})

    def _outcome(self, text: str, shape: str, at: int) -> Optional[tuple[int, Outcome]]:
        """Return the places that the outcome depends on, and the outcome for a line.

        Args:
            text: the line.
            shape: of the line.
            at: where its date ends.
        """
        end, base = len(text), {}
        for prefix in self._prefregex:
            if self._tested(prefix, f"{shape[at:]}\n") != 0:
                return None
            match = prefix.find(f"{text[at:]}\n")
            if match is None:
                return 0, NOTHING
            spans = prefix.spans(match, at)
            if spans is None:
                return None
            base = spans
            content = base.pop("content", None)
            if content is not None and content[0] < content[1]:
                at, end = content
        if end > len(text) or any(span and span[1] > end for span in base.values()):
            return None  # with the newline
        content_shape, content_text = f"{shape[at:end]}\n", f"{text[at:end]}\n"
        heads = _CHARS.get(content_shape[0], content_shape[0])
        tries = self._promising(content_text)
        if any(self._promising(head) != tries for head in heads):
            return None
        places = 0
        for _, _, pattern in tries:
            tested = self._tested(pattern, content_shape)
            if tested is None:
                return None
            places |= tested
        for index, find, pattern in tries:
            match = find(content_text)
            if match is None:
                continue
            spans = pattern.spans(match, at)
            if spans is None or any(span and span[1] > end for span in spans.values()):
                return None
            for name, span in base.items():
                if spans.get(name) is None:
                    spans[name] = span
            outcome = self._told(index, text, shape, spans)
            return None if outcome is None else (places << at, outcome)
        return places << at, NOTHING

    def _tested(self, pattern: Pattern, shape: str) -> Optional[int]:
        """Return at which places a regex may tell lines of a shape apart; None: unknown."""
        tree = alike(pattern.regex)
        if tree.blind and HEX not in shape:
            return 0
        if not tree.known:
            return None
        key = pattern, shape
        places = self._walked.get(key)
        if places is None:
            if len(self._walked) >= _MOST_WALKS:
                self._walked.clear()
            tested = tree.tested(shape, anywhere=not pattern.syntax.begins)
            if tested is None:
                return None
            places = self._walked[key] = tested.places
        return places

    def _told(
        self, index: int, text: str, shape: str, spans: dict[str, Optional[Span]]
    ) -> Optional[Outcome]:
        session = spans.get(SESSION_GROUP)
        if session is None:
            if all(spans.get(name) is None for name in ID_GROUPS):
                return None  # the filter goes on to its next failregex
            return Outcome(index, None, *self._parted(text, shape, spans)[::2])

        def says(name: str) -> bool:
            span = spans.get(name)
            return span is not None and span[0] < span[1]

        gained, nofail, forget = says("mlfgained"), says("nofail"), says("mlfforget")
        if gained and not nofail:
            spans["nofail"] = spans["mlfgained"]
        spans.pop("mlfforget", None)
        groups, told, varying = self._parted(text, shape, spans)
        user: Union[Span, str, None] = None
        if says("user"):
            user = spans["user"] if groups["user"] is None else str(groups["user"])
        four, six = spans.get("ip4"), spans.get("ip6")
        said = Said(
            session,
            groups,
            told,
            varying,
            user,
            gained,
            gained or nofail,
            forget,
            four or six or (0, 0),
            (four is not None) + 2 * (six is not None),
        )
        return Outcome(index, said, {}, ())

    def _parted(
        self, text: str, shape: str, spans: dict[str, Optional[Span]]
    ) -> tuple[Groups, Groups, tuple[tuple[str, int, int], ...]]:
        """Return groups as ``Said`` has them: all, those that never differ, those that do."""
        groups: Groups = {}
        varying = []
        for name, span in spans.items():
            groups[name] = None
            if span is not None:
                begin, end = span
                if any(each in shape[begin:end] for each in _CHARS):
                    varying.append((name, begin, end))
                else:
                    groups[name] = text[begin:end]
        told: Groups = {name: value for name, value in groups.items() if value is not None}
        return self._once(groups), self._once(told), tuple(varying)

    def _once(self, groups: Groups) -> Groups:
        """Return equal groups that were here before: many shapes have them."""
        same: Groups = self._same.setdefault(tuple(groups.items()), groups)
        return same
