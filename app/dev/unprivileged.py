"""How a program that refuses to run as root, or as a user without a name, is run all the same."""

import contextlib
import hashlib
import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

# For what `nobody` cannot reach where it is. Only root writes here, so nobody can have put something there first.
_REACHABLE = Path("/var/lib/indostar-dev")


class Identity(TypedDict, total=False):
    """`subprocess`' arguments for running as another user; empty for ours."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Way:
    """What goes before the command, and the user it runs as (None: ours)."""

    prefix: tuple[str, ...] = ()
    user: str | None = None

    def identity(self) -> Identity:
        if self.user is None:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


DIRECT = Way()
# In a user namespace our files look like that user's own, wherever they lie. Entering it clears the
# parent-death signal, so it is set once more: SIGINT, on which PostgreSQL ends its own children first.
NAMESPACE = Way(
    prefix=(
        *("unshare", "--user", "--map-user=65534", "--map-group=65534"),
        *("setpriv", "--pdeathsig", "INT", "--"),
    )
)
NOBODY = Way(user="nobody")


def way_of_this_user() -> Way:
    """The way that works here: directly where we are an ordinary user, else a namespace where that is allowed."""
    # initdb asks for the name of its user, and in a container that may be a mere number.
    asks_for_name = ["id", "-un"]
    if os.geteuid() != 0 and runs(DIRECT, asks_for_name):
        return DIRECT
    if runs(NAMESPACE, asks_for_name):
        return NAMESPACE
    return NOBODY if os.geteuid() == 0 else DIRECT


def runs(way: Way, command: Sequence[str | Path]) -> bool:
    """Whether this command works this way."""
    with contextlib.suppress(OSError):
        done = subprocess.run(  # noqa: S603 -- our own commands
            [*way.prefix, *command],
            **way.identity(),
            cwd="/",
            capture_output=True,
            check=False,
        )
        return done.returncode == 0
    return False


def reachable(way: Way, folder: Path) -> Path:
    """`folder` if a program that runs this way can enter it, else a folder that stands for it."""
    if runs(way, ["test", "-x", folder]):
        return folder
    stand_in = _REACHABLE / hashlib.sha256(bytes(folder.resolve())).hexdigest()[:16]
    for level in (_REACHABLE, stand_in):
        level.mkdir(exist_ok=True)
        level.chmod(0o711)
    return stand_in
