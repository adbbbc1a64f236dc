"""Who asks or acts, and what that allows."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Viewers read, and see no argument that is hidden; operators see all and act."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a name, and where from, as "api 203.0.113.7" or "cli asha@shop". `address` is the IP address there."""

    name: str
    role: Role
    source: str
    address: str | None = None
