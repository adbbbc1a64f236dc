"""What charges deliveries, made from the settings."""

from zoneinfo import ZoneInfo

import httpx
from pydantic import SecretStr

from app.billing.charging import Charging
from app.billing.gateway import GuardedRazorpay
from app.billing.invoice_way import InvoiceWay
from app.billing.ledger import ChargeLedger
from app.billing.mandate_way import MandateWay
from app.billing.notices import DebitNotices
from app.billing.settling import SettlingTerms
from app.billing.sweeping import CHARGING
from app.billing.telling import SKIPPING, Correspondence
from app.billing.watch import RunWatch
from app.db.engine import Database
from app.deliveries.brake import BrakeBounds
from app.jobs.breaker import Breaker
from app.providers.timed import CallHook
from app.settings import Settings
from app.tasks.run_news import RunNews

# The tasks by which an open charge is looked at again, a debit announced, and a day reported to the owner.
FOLLOWING_UP = "follow_up_charge"
ANNOUNCING = "announce_debit"
REPORTING = "report_subscription_run"


def open_charging(
    settings: Settings,
    database: Database,
    client: httpx.AsyncClient,
    breaker: Breaker,
    on_call: CallHook | None = None,
) -> Charging:
    """What charges deliveries by these settings."""
    gateway = GuardedRazorpay(
        client,
        breaker,
        on_call=on_call,
        base_url=settings.razorpay_base_url,
        # Without keys Razorpay says what is wrong, and charges wait until they are set.
        key_id=settings.razorpay_key_id or "",
        key_secret=settings.razorpay_key_secret or SecretStr(""),
    )
    correspondence = Correspondence(settings.frontend_url, settings.sms_countries)
    terms = SettlingTerms(
        settings.charge_follow_ups, correspondence, looking=FOLLOWING_UP, charging=CHARGING, reporting=REPORTING
    )
    ledger = ChargeLedger(database, terms, pause_after=settings.max_failed_deliveries)
    return Charging(
        database,
        gateway,
        ledger,
        MandateWay(ledger, gateway),
        InvoiceWay(ledger, gateway),
        RunWatch(database, brake_bounds(settings), at_brake=RunNews(settings.owner_email).braked),
        DebitNotices(database, gateway, ZoneInfo(settings.schedule_timezone)),
        charging_task=CHARGING,
        skipping_task=SKIPPING,
    )


def brake_bounds(settings: Settings) -> BrakeBounds:
    """When a run pauses itself."""
    return BrakeBounds(
        refused_points=settings.brake_refused_points,
        unknown_points=settings.brake_unknown_points,
        amount_factor=settings.brake_amount_factor,
    )
