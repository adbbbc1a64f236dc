"""Tasks: what can be enqueued, and enqueueing it."""

from datetime import timedelta

from fastapi import status

from admin_api.calls import admin_router
from admin_api.dependencies import GivenActor, GivenServices, Viewer
from admin_api.models import ACTING, READING, NewJob, TaskList, answers
from app.operations.views import JobView

tasks_router = admin_router("tasks")


@tasks_router.get("/admin/tasks", responses=READING)
async def list_tasks(opened: GivenServices, _role: Viewer) -> TaskList:
    """Every task that can be enqueued, with the schema of its arguments."""
    return TaskList(items=opened.operations.tasks())


@tasks_router.post(
    "/admin/tasks/{name}/jobs", status_code=status.HTTP_202_ACCEPTED, responses=ACTING | answers(404, 409)
)
async def enqueue_job(name: str, new: NewJob, opened: GivenServices, actor: GivenActor) -> JobView:
    """Enqueue a job of this task; with a `job_id` of your own at most once: then 409 names it."""
    delay = None if new.delay_seconds is None else timedelta(seconds=new.delay_seconds)
    return await opened.operations.jobs.enqueue(
        actor, name, new.kwargs, run_at=new.run_at, delay=delay, job_id=new.job_id
    )
