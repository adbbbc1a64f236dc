"""`indostar templates`: what is compared before a release, and what people look at."""

from pathlib import Path

import pytest

from app.notify.dlt import REGISTERED
from app.notify.locales import Locale
from app.notify.rendering import render_mail
from app.notify.samples import SAMPLE_SITE, SAMPLES
from app.notify.types import SMS_CONTEXTS, TO_OWNER, NotificationType
from tests.command_line import CommandLine

CUSTOMERS = set(NotificationType) - TO_OWNER


@pytest.fixture
def indostar() -> CommandLine:
    """Without any settings: a build machine has none."""
    return CommandLine({})


@pytest.fixture
def other_texts(tmp_path: Path) -> Path:
    """Where the operators have another text and lack one."""
    file = tmp_path / "registered.toml"
    text = REGISTERED.read_text(encoding="utf-8").replace("Pay here:", "Pay at:")
    file.write_text(text.partition("[subscription_paused]")[0], encoding="utf-8")
    return file


async def test_the_check_is_content_where_all_is_as_it_is_registered(indostar: CommandLine) -> None:
    called = await indostar("templates", "check")

    assert (called.code, called.out) == (0, f"{2 * len(SMS_CONTEXTS)} SMS are as they are registered\n")
    assert await indostar.json("templates", "check") == {"checked": 2 * len(SMS_CONTEXTS), "mismatches": []}


async def test_the_check_fails_with_a_line_for_each_mismatch(indostar: CommandLine, other_texts: Path) -> None:
    called = await indostar("templates", "check", "--dlt", str(other_texts))

    assert called.code == 1
    lines = called.out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "payment_failed (en), after {{ order_number }}",
        "subscription_paused (en), the whole text",
        "subscription_paused (hi), the whole text",
    ]
    assert "we send 'here: ' where 'at: ' is registered" in lines[0]


async def test_the_check_tells_scripts_the_same(indostar: CommandLine, other_texts: Path) -> None:
    called = await indostar("templates", "check", "--dlt", str(other_texts), "--json")

    assert called.code == 1
    assert called.json["checked"] == 2 * len(SMS_CONTEXTS)
    first = called.json["mismatches"][0]
    assert first.keys() == {"type", "locale", "place", "problem"}
    assert (first["type"], first["locale"]) == ("payment_failed", "en")


async def test_texts_that_can_not_be_read_are_a_line(indostar: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "registered.toml"
    file.write_text("order_shipped = 'Your order'")

    called = await indostar("templates", "check", "--dlt", str(file))

    assert (called.code, called.out) == (1, "")
    assert called.err.startswith(f"{file}: order_shipped is no text")
    assert (await indostar("templates", "check", "--dlt", str(tmp_path / "none"))).code == 2


async def test_an_overview_has_a_row_for_each_type_and_language(indostar: CommandLine) -> None:
    called = await indostar("templates", "preview")

    rows = [line.split()[:2] for line in called.out.splitlines()[1:]]
    assert sorted(rows) == sorted(
        [[kind, locale] for kind in CUSTOMERS for locale in Locale] + [[kind, "en"] for kind in TO_OWNER]
    )


async def test_a_preview_is_what_would_be_sent_about_the_sample(indostar: CommandLine) -> None:
    [item] = (await indostar.json("templates", "preview", "order_confirmation", "--locale", "hi"))["items"]

    kind = NotificationType.ORDER_CONFIRMATION
    mail = render_mail(kind, SAMPLES[kind], SAMPLE_SITE, Locale.HI)
    assert item["mail"] == {"subject": mail.subject, "text": mail.text, "html": mail.html}
    assert item["sms"]["text"].startswith("आपका ऑर्डर ORD-20260305-000042 ")
    assert (item["sms"]["encoding"], item["sms"]["segments"]) == ("UCS-2", 2)


async def test_an_sms_is_shown_with_what_it_costs(indostar: CommandLine) -> None:
    called = await indostar("templates", "preview", "subscription_renewal", "--format", "sms")

    assert called.out.splitlines() == [
        "--- subscription_renewal (en)",
        "Your A2 Cow Milk, 1 litre subscription renews soon. Amount: Rs 75.00. - IndoStar Naturals",
        "(89 characters, 1 segment of GSM-7)",
        "--- subscription_renewal (hi)",
        "आपके A2 Cow Milk, 1 litre सब्सक्रिप्शन की अगली डिलीवरी जल्द होगी। राशि: ₹75.00। - IndoStar Naturals",
        "(99 characters, 2 segments of UCS-2)",
    ]


async def test_a_mail_is_shown_with_its_subject(indostar: CommandLine) -> None:
    called = await indostar("templates", "preview", "password_reset", "--locale", "en", "--format", "text")

    assert called.out.startswith("Subject: Reset your IndoStar Naturals password\n\nHello Asha Patil,\n")


async def test_previews_are_written_as_files(indostar: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "previews"
    called = await indostar("templates", "preview", "--out", str(folder))

    files = {file.name for file in folder.iterdir()}
    assert {Path(line) for line in called.out.splitlines()} == set(folder.iterdir())
    assert {name for name in files if name.startswith("password_reset")} == {
        f"password_reset.{locale}.{ending}" for locale in Locale for ending in ("html", "txt")
    }
    assert {name for name in files if name.endswith("sms.txt")} == {
        f"{kind}.{locale}.sms.txt" for kind in SMS_CONTEXTS for locale in Locale
    }
    assert (folder / "order_shipped.hi.html").read_text(encoding="utf-8").startswith("<!doctype html>")

    only = await indostar.json("templates", "preview", "stock_out", "--format", "html", "--out", str(tmp_path))
    assert only == {"files": [str(tmp_path / "stock_out.en.html")]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["order_eaten"], "none of order_confirmation"),
        (["--locale", "mr"], "none of en, hi"),
        (["stock_out", "--locale", "hi"], "in en only"),
        (["password_reset", "--format", "sms"], "by mail only"),
        (["--format", "pdf"], "'pdf'"),
    ],
)
async def test_what_there_is_not_is_a_wrong_call(indostar: CommandLine, arguments: list[str], says: str) -> None:
    called = await indostar("templates", "preview", *arguments)

    assert (called.code, called.out) == (2, "")
    assert says in " ".join(called.err.replace("│", " ").split())
