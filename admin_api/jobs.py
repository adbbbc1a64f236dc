"""Jobs: list, look up, run again, discard, abort."""

from typing import Annotated

from fastapi import Query, status

from admin_api.calls import admin_router
from admin_api.dependencies import GivenActor, GivenServices, Viewer
from admin_api.models import ACTING, READING, JobIdInPath, JobQuery, ManyJobs, RetryJob, WantedJobs, answers
from app.operations.views import BulkDiscardView, BulkRetryView, JobPageView, JobView, RetriedJobView

jobs_router = admin_router("jobs")


@jobs_router.get("/admin/jobs", responses=READING)
async def list_jobs(wanted: Annotated[JobQuery, Query()], opened: GivenServices, role: Viewer) -> JobPageView:
    """Jobs on record that meet every filter, newest first; `next_cursor` leads to the next page of the same filters."""
    return await opened.operations.jobs.page(wanted.as_filter(), role, limit=wanted.limit, cursor=wanted.cursor)


@jobs_router.post("/admin/jobs/retry", responses=ACTING)
async def retry_jobs(many: ManyJobs, opened: GivenServices, actor: GivenActor) -> BulkRetryView:
    """Run again what failed of many jobs, the oldest first, each once. Messages that were sent are not sent again."""
    jobs = opened.operations.jobs
    if many.ids is not None:
        return await jobs.retry_these(actor, many.ids, dry_run=many.dry_run)
    return await jobs.retry_many(actor, (many.filter or WantedJobs()).as_filter(), dry_run=many.dry_run)


@jobs_router.post("/admin/jobs/discard", responses=ACTING)
async def discard_jobs(many: ManyJobs, opened: GivenServices, actor: GivenActor) -> BulkDiscardView:
    """Discard what failed of many jobs; of a filter whose status is one of waiting, what waits."""
    jobs = opened.operations.jobs
    if many.ids is not None:
        return await jobs.discard_these(actor, many.ids, dry_run=many.dry_run)
    return await jobs.discard_many(actor, (many.filter or WantedJobs()).as_filter(), dry_run=many.dry_run)


# An id may hold slashes: the last word of such a path says what is done.
@jobs_router.post(
    "/admin/jobs/{job_id:path}/retry", status_code=status.HTTP_202_ACCEPTED, responses=ACTING | answers(404, 409)
)
async def retry_job(
    job_id: JobIdInPath, opened: GivenServices, actor: GivenActor, how: RetryJob | None = None
) -> RetriedJobView:
    """Run a failed job again, once: the job in its place, and what that `can` still do."""
    return await opened.operations.jobs.retry(actor, job_id, resend=how is not None and how.resend)


@jobs_router.post(
    "/admin/jobs/{job_id:path}/abort", status_code=status.HTTP_202_ACCEPTED, responses=ACTING | answers(404, 409)
)
async def abort_job(job_id: JobIdInPath, opened: GivenServices, actor: GivenActor) -> JobView:
    """Have a job ended within a second, waiting or running."""
    return await opened.operations.jobs.abort(actor, job_id)


@jobs_router.get("/admin/jobs/{job_id:path}", responses=READING | answers(404))
async def get_job(job_id: JobIdInPath, opened: GivenServices, role: Viewer) -> JobView:
    """A job with its attempts."""
    return await opened.operations.jobs.find(job_id, role)


@jobs_router.delete(
    "/admin/jobs/{job_id:path}", status_code=status.HTTP_204_NO_CONTENT, responses=ACTING | answers(404, 409)
)
async def discard_job(job_id: JobIdInPath, opened: GivenServices, actor: GivenActor) -> None:
    """Discard a job: one that waits ends, one that failed can't be run again."""
    await opened.operations.jobs.discard(actor, job_id)
