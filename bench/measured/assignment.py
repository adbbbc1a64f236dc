"""What a process under measurement is told, through one variable of its environment.

Only the standard library: it runs in the peers' environment too.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

VARIABLE = "INDOSTAR_BENCH"

# How long a job of the kind `hold` takes.
HOLD_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """`tally` is the folder where jobs say what they did. `survives_kill` asks for the setting that a system's
    documentation recommends against lost workers, where that is not how it comes."""

    redis_url: str
    tally: str
    slots: int
    provider_url: str = ""
    survives_kill: bool = False

    def as_environment(self) -> Mapping[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def given(cls) -> Self:
        """This process's own. Raises KeyError where it was started by hand."""
        return cls(**json.loads(os.environ[VARIABLE]))
