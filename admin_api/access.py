"""Whose token it is, and holding up those who guess."""

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

from pydantic import SecretStr

from app.operations import Role
from app.setting_values import api_tokens

# Seconds: the first wrong token may be a slip, a hundred are none.
FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
# After that (seconds) an address begins anew.
FORGOTTEN_AFTER = 900.0
# Some megabytes; of more, those that failed longest ago are forgotten.
MOST_ADDRESSES = 10_000
# Of one address. Without an end to them, waiting would cost us more than whoever guesses.
MOST_WAITING = 20
# Its owner has at least as many addresses as these bits leave.
IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose token it is. One without a name is called after its role and the first digits of its SHA-256."""

    name: str
    role: Role


class AccessTokens:
    """The tokens that open the admin API."""

    def __init__(self, operators: SecretStr | None, viewers: SecretStr | None) -> None:
        self._holders: list[tuple[bytes, Holder]] = []
        for role, tokens in ((Role.OPERATOR, operators), (Role.VIEWER, viewers)):
            for token in api_tokens(tokens):
                digest = _digest(token.secret.get_secret_value())
                name = token.name or f"{role} {digest.hex()[:8]}"
                self._holders.append((digest, Holder(name, role)))

    def holder(self, given: str) -> Holder | None:
        """Whose it is; None where it is nobody's."""
        digest = _digest(given)
        # All are compared, whatever the first says, and digests have one length: the time taken tells nothing.
        found = [holder for known, holder in self._holders if hmac.compare_digest(known, digest)]
        return found[0] if found else None


class TooManyWaiting(Exception):
    """So many wrong tokens came from one address that not even waiting helps."""


class WrongTokens:
    """Holds up whoever sends wrong tokens, longer each time. Valid tokens never come here.

    `clock` is a steady one, in seconds.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most_addresses: int = MOST_ADDRESSES,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._most_addresses = most_addresses
        # How many each address has sent, when the last, and how many wait; the longest ago first.
        self._addresses: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._waiting: dict[str, int] = {}

    async def hold_up(self, address: str) -> None:
        """Returns when the caller may be told. Raises TooManyWaiting at once."""
        owner = owner_of(address)
        now = self._clock()
        count, last = self._addresses.pop(owner, (0, now))
        count = 1 if now - last > FORGOTTEN_AFTER else count + 1
        self._addresses[owner] = (count, now)
        if len(self._addresses) > self._most_addresses:
            self._addresses.popitem(last=False)
        if self._waiting.get(owner, 0) >= MOST_WAITING:
            raise TooManyWaiting
        self._waiting[owner] = self._waiting.get(owner, 0) + 1
        try:
            await self._pause(min(FIRST_DELAY * 2.0 ** min(count - 1, 20), LONGEST_DELAY))
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def owner_of(address: str) -> str:
    """Who has many IPv6 addresses is one all the same."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is None:
        return str(IPv6Network((ip, IPV6_PREFIX), strict=False))
    return address
