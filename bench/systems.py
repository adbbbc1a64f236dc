"""The systems under measurement: how each one's workers are started, and how many at once."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

Arguments = Sequence[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """How many processes, and how many jobs each of them runs at once."""

    processes: int
    slots: int

    def __str__(self) -> str:
        return f"{self.processes} x {self.slots}"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """`worker` gives the arguments of `python -m` that start workers of a shape. `sender` is where its client is.

    `copies` tells that each process of a shape is started by itself. `quick`, `mailing` and `holding` are the shapes
    for jobs that do nothing, that wait for a provider, and for twenty at once.
    """

    name: str
    python: Path
    worker: Callable[[Shape], Arguments]
    sender: str
    quick: Shape
    mailing: Shape
    holding: Shape
    copies: bool = False
    # What takes it several seconds.
    quick_jobs: int
    mails: int
    survives_kill: bool = False


OURS = System(
    name="ours",
    python=Path(sys.executable),
    worker=lambda _shape: ("arq", "bench.ours.worker.WorkerSettings"),
    sender="bench.ours.worker:sender",
    copies=True,
    quick=Shape(1, 100),
    mailing=Shape(1, 100),
    holding=Shape(1, 20),
    quick_jobs=30_000,
    mails=2_000,
)
OURS_ON_RECORD = replace(
    OURS, name="ours, with history", worker=lambda _shape: ("arq", "bench.ours.on_record.WorkerSettings")
)
OURS_WITH_OUTBOX = replace(
    OURS,
    name="ours, from the outbox",
    worker=lambda _shape: ("arq", "bench.ours.outbox.WorkerSettings"),
    sender="bench.ours.outbox:sender",
)
OUR_MAILS = System(
    name="ours, the shop's mail task",
    python=Path(sys.executable),
    worker=lambda _shape: ("arq", "worker.NotificationsWorker"),
    sender="bench.ours.mails:sender",
    copies=True,
    quick=OURS.quick,
    mailing=OURS.mailing,
    holding=OURS.holding,
    quick_jobs=OURS.quick_jobs,
    mails=OURS.mails,
)


def peers(python: Path) -> list[System]:
    """Each as its documentation has it for speed; `python` is the one of their environment.

    arq is measured in ours: it wants an older Redis client than the others.
    """
    return [
        System(
            name="arq",
            python=Path(sys.executable),
            worker=lambda _shape: ("arq", "bench.peers.arq_app.WorkerSettings"),
            sender="bench.peers.arq_app:sender",
            copies=True,
            quick=Shape(1, 100),
            mailing=Shape(1, 100),
            holding=Shape(1, 20),
            quick_jobs=2_000,
            mails=1_500,
        ),
        celery(python, "Celery"),
        System(
            name="dramatiq",
            python=python,
            worker=lambda shape: (
                *("dramatiq", "bench.peers.dramatiq_app"),
                *("--processes", str(shape.processes), "--threads", str(shape.slots)),
            ),
            sender="bench.peers.dramatiq_app:sender",
            quick=Shape(2, 8),
            mailing=Shape(2, 50),
            holding=Shape(1, 20),
            quick_jobs=6_000,
            mails=1_000,
        ),
        System(
            name="SAQ",
            python=python,
            worker=lambda shape: ("saq", "bench.peers.saq_app.settings", "--workers", str(shape.processes)),
            sender="bench.peers.saq_app:sender",
            quick=Shape(1, 100),
            mailing=Shape(1, 100),
            holding=Shape(1, 20),
            quick_jobs=3_000,
            mails=1_500,
        ),
        System(
            name="streaQ",
            python=python,
            worker=lambda shape: ("streaq", "run", "bench.peers.streaq_app:worker", "--workers", str(shape.processes)),
            sender="bench.peers.streaq_app:sender",
            quick=Shape(1, 100),
            mailing=Shape(1, 100),
            holding=Shape(1, 20),
            quick_jobs=2_000,
            mails=1_500,
        ),
        System(
            name="taskiq",
            python=python,
            worker=lambda shape: (
                *("taskiq", "worker", "bench.peers.taskiq_app:broker", "--no-parse"),
                *("--workers", str(shape.processes), "--max-async-tasks", str(shape.slots)),
            ),
            sender="bench.peers.taskiq_app:sender",
            quick=Shape(2, 100),
            mailing=Shape(2, 100),
            holding=Shape(1, 20),
            quick_jobs=6_000,
            mails=2_000,
            # Chooses its broker with acknowledgements where workers are killed.
            survives_kill=True,
        ),
    ]


def celery(python: Path, name: str, *, survives_kill: bool = False) -> System:
    """Prefork: a process runs one job at a time."""
    return System(
        name=name,
        python=python,
        worker=lambda shape: (
            *("celery", "-A", "bench.peers.celery_app", "worker", "--loglevel", "INFO"),
            *("--pool", "prefork", "--concurrency", str(shape.processes)),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        sender="bench.peers.celery_app:sender",
        quick=Shape(2, 1),
        mailing=Shape(8, 1),
        holding=Shape(20, 1),
        quick_jobs=1_500,
        mails=400,
        survives_kill=survives_kill,
    )
