"""Schedules: when they run, run one now, pause, resume."""

from fastapi import HTTPException, status

from admin_api.calls import admin_router
from admin_api.dependencies import GivenActor, GivenServices, Viewer
from admin_api.models import ACTING, READING, RunSchedule, ScheduleList, answers
from app.jobs.failures import WrongArguments
from app.operations.views import JobView, ScheduleView

schedules_router = admin_router("schedules")


@schedules_router.get("/admin/schedules", responses=READING)
async def list_schedules(opened: GivenServices, _role: Viewer) -> ScheduleList:
    """Every schedule: when it runs next, and what became of its last job."""
    return ScheduleList(items=await opened.operations.schedules.all())


@schedules_router.post(
    "/admin/schedules/{name}/run", status_code=status.HTTP_202_ACCEPTED, responses=ACTING | answers(404)
)
async def run_schedule(
    name: str, opened: GivenServices, actor: GivenActor, which: RunSchedule | None = None
) -> JobView:
    """Start a schedule's job now, paused or not, for today or for the date given."""
    try:
        return await opened.operations.schedules.run(actor, name, None if which is None else which.day)
    except WrongArguments as error:
        faults = [{"type": "wrong_argument", "loc": ["body", argument], "msg": why} for argument, why in error.faults]
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, faults) from None


@schedules_router.post("/admin/schedules/{name}/pause", responses=ACTING | answers(404))
async def pause_schedule(name: str, opened: GivenServices, actor: GivenActor) -> ScheduleView:
    """No slot of the schedule is fired any more."""
    return await opened.operations.schedules.pause(actor, name)


@schedules_router.post("/admin/schedules/{name}/resume", responses=ACTING | answers(404))
async def resume_schedule(name: str, opened: GivenServices, actor: GivenActor) -> ScheduleView:
    """Slots are fired again from the next one on; those in between are skipped."""
    return await opened.operations.schedules.resume(actor, name)
