"""Who guesses tokens has to wait, and that costs the server little."""

import pytest

from explstm.server import guesses
from explstm.server.guesses import Guesses


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_third_wrong_token_is_the_last_within_a_minute(clock):
    known = Guesses(3, clock)
    for seconds in (0, 10, 20):
        clock.now = 100.0 + seconds
        assert known.wait("10.0.0.1") == 0
        known.note("10.0.0.1")
    assert known.wait("10.0.0.1") == 40 and known.wait("10.0.0.2") == 0
    clock.now = 159.5
    assert known.wait("10.0.0.1") == 0.5
    clock.now = 160.0
    assert known.wait("10.0.0.1") == 0
    known.note("10.0.0.1")
    assert known.wait("10.0.0.1") == 0, "a new minute"


def test_addresses_of_one_network_count_together(clock):
    known = Guesses(2, clock)
    known.note("2001:db8::1")
    known.note("2001:db8::ffff:1")
    assert known.wait("2001:db8::7") == 60 and known.wait("2001:db8:0:1::1") == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_never_waits_for_it_may_be_a_proxy_of_many(clock, address):
    known = Guesses(1, clock)
    known.note(address)
    assert known.wait(address) == 0 and len(known) == 0


def test_an_address_of_ipv4_is_the_same_in_ipv6(clock):
    known = Guesses(1, clock)
    known.note("::ffff:10.0.0.1")
    assert known.wait("10.0.0.1") == 60 and known.wait("::ffff:10.0.0.2") == 0


def test_only_so_many_are_remembered(clock, monkeypatch):
    monkeypatch.setattr(guesses, "MOST_ADDRESSES", 50)
    known = Guesses(1, clock)
    for number in range(200):
        known.note(f"10.0.0.{number}")
    assert len(known) == 50
    assert known.wait("10.0.0.199") == 60 and known.wait("10.0.0.0") == 0


def test_none_counts_none(clock):
    known = Guesses(0, clock)
    known.note("10.0.0.1")
    assert len(known) == 0 and known.wait("10.0.0.1") == 0
