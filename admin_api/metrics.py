"""Metrics for Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from admin_api.dependencies import GivenServices

metrics_router = APIRouter(tags=["health"], generate_unique_id_function=lambda route: route.name)


class PrometheusText(Response):
    """Prometheus' text format."""

    media_type = CONTENT_TYPE_PLAIN_0_0_4


@metrics_router.get("/metrics", response_class=PrometheusText)
async def metrics(opened: GivenServices) -> PrometheusText:
    """What Redis and PostgreSQL know of queues, workers, schedules, outbox, history and charges.

    `indostar_up` tells which of them answered; what the other knows is left out.
    """
    return PrometheusText(await opened.metrics.text())
