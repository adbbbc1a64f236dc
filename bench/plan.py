"""What one run of the benchmark measures, and how figures are put together."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.systems import System, peers


@dataclass(frozen=True, slots=True)
class Plan:
    """`peers_python` is the interpreter of the peers' environment; None leaves them out.

    `scale` is the part of the rows, keys and deliveries that cleanups, charging and the admin API are measured with.
    """

    peers_python: Path | None
    scale: float = 1.0

    @property
    def peers(self) -> list[System]:
        return [] if self.peers_python is None else peers(self.peers_python)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
