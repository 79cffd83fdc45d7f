"""Wrong tokens by address, so that nobody can try many.

Contract: an address that has shown too many within a minute has to wait for the end of that minute.
Addresses of IPv6 count by their network of 64 bits, which one machine may have to itself; those of
this machine do not count. Only so many are remembered: the one that began longest ago goes first.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

SECONDS = 60.0
MOST_ADDRESSES = 10_000
OWN_BITS = 64


class Guesses:
    """Counts wrong tokens; see the module.

    Args:
        most: How many an address may show in a minute; 0 counts none.
        clock: Gives the time in seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def wait(self, address: str) -> float:
        """Seconds that an address has to wait; 0 where it may try."""
        if not self._known:
            return 0.0
        began, count = self._known.get(_network_of(address), (0.0, 0))
        return max(0.0, began + SECONDS - self._clock()) if count >= self._most else 0.0

    def note(self, address: str) -> None:
        """An address has shown a wrong token."""
        now, network = self._clock(), _network_of(address)
        if self._most == 0 or not network:
            return
        began, count = self._known.get(network, (now, 0))
        if now - began >= SECONDS:
            began, count = now, 0
            self._known.pop(network)
        self._known[network] = began, count + 1
        if len(self._known) > MOST_ADDRESSES:
            self._known.popitem(last=False)


def _network_of(address: str) -> str:
    """What counts as one guesser; empty for this machine, which may be a proxy of many."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    known = getattr(known, "ipv4_mapped", None) or known
    if known.is_loopback:
        return ""
    if known.version == 4:
        return str(known)
    return str(ipaddress.ip_network((known, OWN_BITS), strict=False))
