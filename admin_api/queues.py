"""Queues and the workers that serve them."""

from admin_api.calls import admin_router
from admin_api.dependencies import GivenActor, GivenServices, Viewer
from admin_api.models import ACTING, READING, QueueList, WorkerList, answers
from app.operations.views import QueueView

queues_router = admin_router("queues")


@queues_router.get("/admin/queues", responses=READING)
async def list_queues(opened: GivenServices, _role: Viewer) -> QueueList:
    """Every queue, how full it is and whether it is paused."""
    return QueueList(items=await opened.operations.queues.all())


@queues_router.post("/admin/queues/{name}/pause", responses=ACTING | answers(404))
async def pause_queue(name: str, opened: GivenServices, actor: GivenActor) -> QueueView:
    """No worker claims from the queue any more; what runs goes on. Works without PostgreSQL."""
    return await opened.operations.queues.pause(actor, name)


@queues_router.post("/admin/queues/{name}/resume", responses=ACTING | answers(404))
async def resume_queue(name: str, opened: GivenServices, actor: GivenActor) -> QueueView:
    """Workers claim from the queue again. Works without PostgreSQL."""
    return await opened.operations.queues.resume(actor, name)


@queues_router.get("/admin/workers", responses=READING)
async def list_workers(opened: GivenServices, _role: Viewer) -> WorkerList:
    """The worker processes that are alive, the longest at work first."""
    return WorkerList(items=await opened.operations.workers.all())
