"""All routes of the admin API in one router."""

from fastapi import APIRouter, Depends

from admin_api.events import events_router
from admin_api.health import health_router
from admin_api.jobs import jobs_router
from admin_api.metrics import metrics_router
from admin_api.queues import queues_router
from admin_api.refusals import answer_refusals
from admin_api.schedules import schedules_router
from admin_api.subscriptions import subscriptions_router
from admin_api.tasks import tasks_router

ROUTERS = (
    tasks_router,
    jobs_router,
    events_router,
    queues_router,
    schedules_router,
    subscriptions_router,
    metrics_router,
    health_router,
)

router = APIRouter(dependencies=[Depends(answer_refusals)])
for each in ROUTERS:
    router.include_router(each)
