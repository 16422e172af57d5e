# SPDX-License-Identifier: MIT
"""Does the loop call who is concerned, when it is time, and nobody else?"""

import os
import signal

import pytest

from stockade_agent.loop import Loop


class Clock:
    """Time that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loop(clock):
    loop = Loop(clock)
    yield loop
    loop.close()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_readable_descriptor_is_announced(loop, pipe):
    """The call of the name that listens is made, once a turn."""
    called = []
    loop.listen("pipe", pipe[:1], lambda: called.append(os.read(pipe[0], 1)))
    os.write(pipe[1], b"a")
    loop.turn()

    assert [b"a"] == called


def test_timers_come_in_order_and_once(loop, clock):
    """Timers that are due are called by their time; one that is not is not."""
    called = []
    for name, seconds in (("late", 5), ("b", 2), ("a", 1), ("gone", 1)):
        loop.after(name, seconds, lambda name=name: called.append(name))
    loop.after("gone", None, called.clear)
    clock.now += 3
    loop.turn()

    assert ["a", "b"] == called
    assert loop.waiting("late")


def test_a_timer_set_anew_replaces_the_old(loop, clock):
    """One name has one timer; a call may set its own again."""
    called = []

    def again():
        called.append(clock.now)
        loop.after("tick", 10, again)

    loop.after("tick", 0, lambda: called.append("old"))
    loop.after("tick", 0, again)
    loop.turn()
    clock.now += 10
    loop.turn()

    assert [100.0, 110.0] == called


def test_a_name_that_is_forgotten_is_not_called(loop, clock, pipe):
    """After ``forget`` the descriptor may be closed and its number used again."""
    called = []
    loop.listen("pipe", pipe[:1], lambda: called.append("pipe"))
    loop.after("pipe", 0, lambda: called.append("timer"))
    loop.forget("pipe")
    os.write(pipe[1], b"a")
    loop.after("other", 0, lambda: called.append("other"))
    loop.turn()

    assert ["other"] == called


def test_descriptors_of_a_name_are_replaced(loop, pipe):
    """A name listens to what it was given last; closed descriptors do not hurt."""
    other = os.pipe()
    loop.listen("pipe", other[:1], lambda: None)
    for end in other:
        os.close(end)
    called = []
    loop.listen("pipe", pipe[:1], lambda: called.append(1))
    os.write(pipe[1], b"a")
    loop.turn()

    assert [1] == called


def test_signals_are_dealt_with_in_the_loop(loop):
    """A signal wakes the loop, which calls; the handler is given back at the end."""
    before = signal.getsignal(signal.SIGUSR1)
    called = []
    loop.on_signal(signal.SIGUSR1, lambda: called.append("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.turn()

    assert ["usr1"] == called
    assert before != signal.getsignal(signal.SIGUSR1)
