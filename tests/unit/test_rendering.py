import pickle
import re
import unicodedata
from pathlib import Path
from typing import get_args
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.db.charges import GivenUpReason, SkipReason
from app.notify import rendering
from app.notify.content import one_line
from app.notify.locales import Locale
from app.notify.rendering import (
    ContextIncomplete,
    NoSmsForType,
    RenderedMail,
    UnknownNotification,
    render_mail,
    render_sms,
)
from app.notify.samples import SAMPLE_SITE, SAMPLES
from app.notify.segments import SmsSize, size_of
from app.notify.skips import SKIPS
from app.notify.types import MAIL_CONTEXTS, SMS_CONTEXTS, TO_OWNER, NotificationType
from tests.unit.notification_contexts import FACTS
from tests.unit.parsed_mail import ParsedMail

NASTY = ["<script>alert(1)</script>", '"><b x="', "'", "</td></table>", "<!--", "]]>", "&lt;", "{{ 7*7 }}", "{% raw %}"]
texts = (
    st.one_of(
        st.text(min_size=1, max_size=80),
        st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=8)), min_size=1, max_size=6).map("".join),
    )
    .map(lambda text: text[:80])
    .filter(lambda text: one_line(text) != "")
)

SKIP_REASONS = sorted({*get_args(SkipReason), *get_args(GivenUpReason)})
TEMPLATES = Path(rendering.__file__).parent / "templates"

# What is written by us, type by type: the owner's in English, customers' in every language.
WRITTEN = sorted(FACTS)
TEXTED = [(kind, locale) for kind in SMS_CONTEXTS for locale in Locale]

# The first example of a run compiles the templates.
untimed = settings(deadline=None)

# GSM 03.38: the basic table; a character of the extension table takes two places.
GSM7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


def mail(kind: NotificationType, locale: Locale = Locale.EN, **changes: object) -> RenderedMail:
    return render_mail(kind, {**SAMPLES[kind], **changes}, SAMPLE_SITE, locale)


def sms(kind: NotificationType, locale: Locale = Locale.EN, **changes: object) -> str:
    return render_sms(kind, {**SAMPLES[kind], **changes}, SAMPLE_SITE, locale).text


def with_text(kind: NotificationType, text: str) -> dict[str, object]:
    """The type's typical context with `text` wherever free text goes."""
    checked = {
        *("order_total", "amount", "next_delivery_date", "delivery_date", "delivery_dates"),
        *("reset_url", "verification_url", "subscription_url"),
    }

    def filled(value: object) -> object:
        match value:
            case str():
                return text
            case dict():
                return {key: filled(each) for key, each in value.items()}
            case list():
                return [filled(each) for each in value]
        return value

    return {key: value if key in checked else filled(value) for key, value in SAMPLES[kind].items()}


@pytest.mark.parametrize(("kind", "locale"), WRITTEN)
def test_every_fact_stands_in_the_text_and_in_the_html(kind: NotificationType, locale: Locale) -> None:
    rendered = mail(kind, locale)

    for fact in FACTS[kind, locale]:
        assert fact in rendered.text
        assert fact in ParsedMail(rendered.html).body_text


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("order_confirmation", "Your order ORD-20260305-000042 is confirmed"),
        ("order_shipped", "Your order ORD-20260305-000042 is on its way"),
        ("payment_failed", "Payment for your order ORD-20260305-000042 did not go through"),
        ("subscription_renewal", "Your A2 Cow Milk, 1 litre subscription renews on 5 March 2026"),
        ("delivery_skipped", "No delivery of A2 Cow Milk, 1 litre on 5 March 2026"),
        ("subscription_paused", "Your A2 Cow Milk, 1 litre subscription is paused"),
        ("stock_out", "A2 Cow Milk, 1 litre ran out: 12 of the deliveries of 5 March 2026 skipped"),
        ("run_report", "Deliveries of 5 March 2026: 950 paid, 3 payment pending"),
        ("run_paused", "The deliveries of 5 March 2026 are on hold"),
        ("run_unfinished", "The deliveries of 5 March 2026 are not all planned"),
        ("distributor_approved", "Your IndoStar Naturals distributor account is approved"),
        ("password_reset", "Reset your IndoStar Naturals password"),
        ("email_verification", "Confirm your e-mail address for IndoStar Naturals"),
    ],
)
def test_a_subject_says_what_the_mail_is_about(kind: str, subject: str) -> None:
    assert mail(NotificationType(kind)).subject == subject


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("order_confirmation", "आपका ऑर्डर ORD-20260305-000042 कन्फ़र्म हो गया है"),
        ("order_shipped", "आपका ऑर्डर ORD-20260305-000042 रवाना हो गया है"),
        ("payment_failed", "आपके ऑर्डर ORD-20260305-000042 का भुगतान नहीं हो पाया"),
        ("subscription_renewal", "5 मार्च 2026 को आपके A2 Cow Milk, 1 litre सब्सक्रिप्शन की अगली डिलीवरी"),
        ("delivery_skipped", "A2 Cow Milk, 1 litre की डिलीवरी रद्द: 5 मार्च 2026"),
        ("subscription_paused", "आपका A2 Cow Milk, 1 litre सब्सक्रिप्शन रोक दिया गया है"),
        ("distributor_approved", "आपका IndoStar Naturals डिस्ट्रीब्यूटर खाता मंज़ूर हो गया है"),
        ("password_reset", "अपना IndoStar Naturals पासवर्ड रीसेट करें"),
        ("email_verification", "IndoStar Naturals के लिए अपने ई-मेल पते की पुष्टि करें"),
    ],
)
def test_a_subject_in_hindi_says_what_the_mail_is_about(kind: str, subject: str) -> None:
    assert mail(NotificationType(kind), Locale.HI).subject == subject


@pytest.mark.parametrize("kind", sorted(TO_OWNER))
def test_the_owner_is_written_to_in_english_whatever_is_asked_for(kind: NotificationType) -> None:
    assert mail(kind, Locale.HI) == mail(kind)


@pytest.mark.parametrize(("kind", "locale"), WRITTEN)
def test_no_word_of_another_language_is_left_in_a_mail(kind: NotificationType, locale: Locale) -> None:
    rendered = mail(kind, locale)

    facts = " ".join([*FACTS[kind, locale], "IndoStar Naturals"])
    latin = [word for word in re.findall(r"[A-Za-z]{2,}", rendered.text) if word not in facts]
    devanagari = re.findall(r"[\u0900-\u097f]+", rendered.text)
    assert (devanagari if locale is Locale.EN else latin) == []


@pytest.mark.parametrize("kind", sorted(set(NotificationType) - TO_OWNER))
@pytest.mark.parametrize("locale", Locale)
def test_no_file_of_a_customers_message_is_missing_in_any_language(kind: NotificationType, locale: Locale) -> None:
    there = {path.name for path in (TEMPLATES / kind / locale).iterdir()}

    assert there == {"subject.txt", "body.txt", "body.html"} | ({"sms.txt"} if kind in SMS_CONTEXTS else set())


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.*")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_templates_are_in_unicodes_normal_form(path: Path) -> None:
    # Two ways to write a letter with its dot are one text to the eye and two to the operators.
    assert unicodedata.is_normalized("NFC", path.read_text())


@pytest.mark.parametrize(("kind", "locale"), WRITTEN)
def test_every_link_of_the_html_stands_in_the_text(kind: NotificationType, locale: Locale) -> None:
    rendered = mail(kind, locale)

    links = {link.attributes["href"] for link in ParsedMail(rendered.html).all("a")}
    assert len(links) == (1 if kind in TO_OWNER else 2)
    assert all(link in rendered.text for link in links)


def test_an_address_stands_on_lines_of_its_own() -> None:
    rendered = mail(NotificationType.ORDER_CONFIRMATION, delivery_address="Flat <1>\r\n\r\nPune & more")

    assert "\nFlat <1>\nPune & more\n" in rendered.text
    assert ">Flat &lt;1&gt;<br>Pune &amp; more<" in rendered.html


def test_words_for_an_expected_delivery_are_shown_as_they_are() -> None:
    assert (
        "Expected delivery: within 2 days\n"
        in mail(NotificationType.ORDER_SHIPPED, expected_delivery="within 2 days").text
    )


@pytest.mark.parametrize("kind", [NotificationType.PASSWORD_RESET, NotificationType.EMAIL_VERIFICATION])
@pytest.mark.parametrize(("locale", "hello"), [(Locale.EN, "Hello,"), (Locale.HI, "नमस्ते,")])
@pytest.mark.parametrize("name", [None, "", " \n"])
def test_who_has_no_name_is_greeted_without_one(
    kind: NotificationType, locale: Locale, hello: str, name: str | None
) -> None:
    rendered = mail(kind, locale, customer_name=name)

    assert rendered.text.startswith(f"{hello}\n")
    assert f">{hello}<" in rendered.html


@pytest.mark.parametrize(
    ("kind", "key", "given_as", "leads_to"),
    [
        ("order_confirmation", "order_tracking_url", "https://track.example/1", "https://track.example/1"),
        ("order_confirmation", "order_tracking_url", None, f"{SAMPLE_SITE}/orders/ORD-20260305-000042"),
        ("order_shipped", "order_tracking_url", "", f"{SAMPLE_SITE}/orders/ORD-20260305-000042"),
        ("payment_failed", "retry_payment_url", "http://pay.example/?a=1&b=2", "http://pay.example/?a=1&b=2"),
        ("subscription_renewal", "subscription_url", "https://sub.example/", "https://sub.example/"),
        ("delivery_skipped", "subscription_url", "", f"{SAMPLE_SITE}/subscriptions"),
        ("subscription_paused", "subscription_url", None, f"{SAMPLE_SITE}/subscriptions"),
        ("distributor_approved", "login_url", "https://in.example/", "https://in.example/"),
    ],
)
def test_a_link_that_is_given_replaces_the_default(kind: str, key: str, given_as: object, leads_to: str) -> None:
    rendered = mail(NotificationType(kind), Locale.EN, **{key: given_as})

    assert leads_to in rendered.text
    assert leads_to in [link.attributes["href"] for link in ParsedMail(rendered.html).all("a")]


@untimed
@given(texts.map(one_line).filter(lambda number: len(number) <= 100))
def test_an_order_number_stays_one_segment_of_its_link(order_number: str) -> None:
    rendered = mail(NotificationType.PAYMENT_FAILED, order_number=order_number)

    link = urlsplit(ParsedMail(rendered.html).all("a")[0].attributes["href"])
    assert f"{link.scheme}://{link.netloc}" == SAMPLE_SITE
    assert [unquote(segment) for segment in link.path.split("/")] == ["", "orders", order_number, "pay"]
    assert (link.query, link.fragment) == ("", "")


@pytest.mark.parametrize(("kind", "locale"), WRITTEN)
@untimed
@given(text=texts)
def test_no_value_breaks_out_of_the_html(kind: NotificationType, locale: Locale, text: str) -> None:
    untroubled = ParsedMail(render_mail(kind, with_text(kind, "milk"), SAMPLE_SITE, locale).html)
    context = with_text(kind, text) | {"delivery_address": one_line(text)}

    parsed = ParsedMail(render_mail(kind, context, SAMPLE_SITE, locale).html)

    assert parsed.shape == untroubled.shape
    assert one_line(text) in parsed.body_text


@untimed
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_a_given_link_is_refused_or_leads_exactly_where_it_says(rest: str) -> None:
    url = f"https://shop.example/{rest}"
    try:
        rendered = mail(NotificationType.PASSWORD_RESET, reset_url=url)
    except ContextIncomplete:
        return
    assert [link.attributes["href"] for link in ParsedMail(rendered.html).all("a")][:2] == [url, url]
    assert f"\n{url}\n" in rendered.text


@pytest.mark.parametrize(("kind", "locale"), WRITTEN)
@untimed
@given(text=texts)
def test_no_value_begins_a_new_header(kind: NotificationType, locale: Locale, text: str) -> None:
    subject = render_mail(kind, with_text(kind, text + "\r\nBcc: x@example.com"), SAMPLE_SITE, locale).subject

    assert len(subject.splitlines()) == 1
    assert subject == one_line(subject)
    assert len(subject) <= 998


@pytest.mark.parametrize("kind", NotificationType)
def test_missing_keys_are_all_named(kind: NotificationType) -> None:
    needed = {key for key, field in MAIL_CONTEXTS[kind].model_fields.items() if field.is_required()}

    with pytest.raises(ContextIncomplete) as refusal:
        render_mail(kind, {}, SAMPLE_SITE)

    assert sorted(refusal.value.faults) == sorted((key, "is missing") for key in needed)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("order_confirmation", {"customer_name", "order_number", "order_total", "delivery_address"}),
        ("order_shipped", {"customer_name", "order_number", "tracking_info", "expected_delivery"}),
        ("payment_failed", {"customer_name", "order_number", "order_total", "failure_reason"}),
        ("subscription_renewal", {"customer_name", "product_name", "frequency", "next_delivery_date", "amount"}),
        ("delivery_skipped", {"customer_name", "product_name", "delivery_dates", "reason"}),
        ("subscription_paused", {"customer_name", "product_name", "refusals"}),
        ("stock_out", {"product_name", "delivery_date", "short", "charged"}),
        ("run_report", {"delivery_date", "headline", "sections"}),
        ("run_paused", {"delivery_date", "paused_because", "charges", "amount"}),
        ("run_unfinished", {"delivery_date", "why", "charges", "amount"}),
        ("distributor_approved", {"distributor_name"}),
        ("password_reset", {"reset_url"}),
        ("email_verification", {"verification_url"}),
    ],
)
def test_a_mail_needs_what_the_contract_says(kind: str, keys: set[str]) -> None:
    fields = MAIL_CONTEXTS[NotificationType(kind)].model_fields

    assert {key for key, field in fields.items() if field.is_required()} == keys


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("order_confirmation", {"order_number", "order_total"}),
        ("order_shipped", {"order_number", "tracking_info", "expected_delivery"}),
        ("payment_failed", {"order_number"}),
        ("subscription_renewal", {"product_name", "amount"}),
        ("delivery_skipped", {"product_name", "delivery_dates", "reason"}),
        ("subscription_paused", {"product_name", "refusals"}),
    ],
)
def test_an_sms_needs_what_the_contract_says_and_never_more_than_its_mail(kind: str, keys: set[str]) -> None:
    of_sms = SMS_CONTEXTS[NotificationType(kind)].model_fields
    of_mail = MAIL_CONTEXTS[NotificationType(kind)].model_fields

    assert {key for key, field in of_sms.items() if field.is_required()} == keys
    assert of_sms.keys() <= of_mail.keys()


def test_wrong_values_are_named_and_not_repeated() -> None:
    with pytest.raises(ContextIncomplete) as refusal:
        mail(
            NotificationType.ORDER_CONFIRMATION,
            order_number="\n",
            order_total="4711 rupees",
            delivery_address=["4711"],
            order_tracking_url="javascript:4711",
        )

    assert {key for key, _ in refusal.value.faults} == {
        "order_number",
        "order_total",
        "delivery_address",
        "order_tracking_url",
    }
    assert "order_tracking_url: must be an http(s) URL" in str(refusal.value)
    assert "4711" not in f"{refusal.value}{refusal.value!r}{refusal.value.__cause__}"
    assert str(pickle.loads(pickle.dumps(refusal.value))) == str(refusal.value)


OTHERS = [
    {"product_name": "Ghee <1>", "frequency": "weekly", "amount": "650", "subscription_id": 2},
    {"product_name": "Jaggery", "frequency": "daily", "amount": 99275, "subscription_id": 3},
]


def test_several_deliveries_of_a_day_are_one_reminder_in_hindi_too() -> None:
    rendered = mail(NotificationType.SUBSCRIPTION_RENEWAL, Locale.HI, others=OTHERS)

    assert rendered.subject == "5 मार्च 2026 को आपकी 3 डिलीवरी"
    assert (
        "\nA2 Cow Milk, 1 litre: एक दिन छोड़कर, ₹75.00\nGhee <1>: हर हफ़्ते, ₹650.00\n"
        "Jaggery: हर दिन, ₹99,275.00\nकुल राशि: ₹1,00,000.00\n"
    ) in rendered.text
    body = ParsedMail(rendered.html).body_text
    for fact in ("एक दिन छोड़कर, ₹75.00", "Ghee <1>", "हर हफ़्ते, ₹650.00", "₹1,00,000.00"):
        assert fact in body


def test_several_deliveries_of_a_day_are_one_reminder_with_their_sum() -> None:
    rendered = mail(NotificationType.SUBSCRIPTION_RENEWAL, others=OTHERS)

    assert rendered.subject == "Your 3 deliveries on 5 March 2026"
    assert (
        "\nA2 Cow Milk, 1 litre: Every other day, ₹75.00\nGhee <1>: Every week, ₹650.00\n"
        "Jaggery: Every day, ₹99,275.00\nTogether: ₹1,00,000.00\n"
    ) in rendered.text
    body = ParsedMail(rendered.html).body_text
    for fact in ("A2 Cow Milk, 1 litre", "Every other day, ₹75.00", "Ghee <1>", "Every week, ₹650.00", "₹1,00,000.00"):
        assert fact in body


@pytest.mark.parametrize("locale", Locale)
@untimed
@given(text=texts)
def test_no_value_of_a_further_delivery_breaks_out(locale: Locale, text: str) -> None:
    def shape(words: str) -> list[tuple[str, tuple[str, ...]]]:
        others = [{"product_name": words, "frequency": words, "amount": 1, "subscription_id": 2}]
        return ParsedMail(mail(NotificationType.SUBSCRIPTION_RENEWAL, locale, others=others).html).shape

    assert shape(text) == shape("milk")


@pytest.mark.parametrize(("locale", "label"), [(Locale.EN, "Reason"), (Locale.HI, "कारण")])
@pytest.mark.parametrize("reason", SKIP_REASONS)
def test_every_reason_to_skip_is_told_in_words_with_what_to_do(reason: str, locale: Locale, label: str) -> None:
    rendered = mail(NotificationType.DELIVERY_SKIPPED, locale, reason=reason)

    skip = SKIPS[locale][reason]
    assert f"{label}: {skip.why}\n" in rendered.text
    assert f"\n{skip.to_do}\n" in rendered.text
    assert reason not in rendered.text + rendered.html


@pytest.mark.parametrize(("locale", "size"), [(Locale.EN, SmsSize("GSM-7", 1)), (Locale.HI, SmsSize("UCS-2", 3))])
@pytest.mark.parametrize("reason", SKIP_REASONS)
def test_a_reason_fits_a_variable_of_a_registered_sms_and_costs_no_segment(
    reason: str, locale: Locale, size: SmsSize
) -> None:
    # Operators take at most 30 characters for a variable of a DLT template.
    assert len(SKIPS[locale][reason].briefly) <= 30
    assert size_of(sms(NotificationType.DELIVERY_SKIPPED, locale, reason=reason)) == size


def test_a_reason_in_words_of_its_own_is_told_as_it_is() -> None:
    rendered = mail(NotificationType.DELIVERY_SKIPPED, reason="The\nroad is flooded")

    assert "Reason: The road is flooded\n" in rendered.text


def test_several_skipped_days_are_named_each_and_in_short_where_there_is_no_room() -> None:
    days = {"delivery_dates": ["2026-03-03", "2026-03-02", "2026-03-01", "2026-03-02"]}
    rendered = mail(NotificationType.DELIVERY_SKIPPED, Locale.EN, **days)

    assert "These deliveries of your subscription were skipped.\n" in rendered.text
    assert "\nDays:\n1 March 2026\n2 March 2026\n3 March 2026\n" in rendered.text
    assert ">1 March 2026<br>2 March 2026<br>3 March 2026<" in rendered.html
    assert rendered.subject == "No delivery of A2 Cow Milk, 1 litre on 1 March 2026 and 2 more days"
    assert "on 1 Mar 2026 and 2 more days: " in sms(NotificationType.DELIVERY_SKIPPED, Locale.EN, **days)


def test_several_skipped_days_are_told_in_hindi_too() -> None:
    days = {"delivery_dates": ["2026-03-01", "2026-03-02", "2026-03-03"]}
    rendered = mail(NotificationType.DELIVERY_SKIPPED, Locale.HI, **days)

    assert "\nदिन:\n1 मार्च 2026\n2 मार्च 2026\n3 मार्च 2026\n" in rendered.text
    assert ">1 मार्च 2026<br>2 मार्च 2026<br>3 मार्च 2026<" in rendered.html
    assert rendered.subject == "A2 Cow Milk, 1 litre की डिलीवरी रद्द: 1 मार्च 2026 और 2 अन्य दिन"
    assert ", 1 मार्च 2026 और 2 अन्य दिन। " in sms(NotificationType.DELIVERY_SKIPPED, Locale.HI, **days)


@pytest.mark.parametrize("kind", [NotificationType.DELIVERY_SKIPPED, NotificationType.SUBSCRIPTION_PAUSED])
def test_a_product_without_a_name_keeps_no_message_back(kind: NotificationType) -> None:
    assert "Product: product\n" in mail(kind, product_name=" \n").text
    assert "उत्पाद: उत्पाद\n" in mail(kind, Locale.HI, product_name=" \n").text


@pytest.mark.parametrize("kind", NotificationType)
def test_surplus_keys_are_ignored(kind: NotificationType) -> None:
    assert mail(kind, coupon="MILK10", subject="Other", shop_url="https://evil.example") == mail(kind)


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNotification, match=r"'order_eaten' is no notification type: use one of order_conf"):
        render_mail("order_eaten", {}, SAMPLE_SITE)
    with pytest.raises(UnknownNotification):
        render_sms("order_eaten", {}, SAMPLE_SITE)


@pytest.mark.parametrize("kind", sorted(set(NotificationType) - SMS_CONTEXTS.keys()))
def test_types_that_go_by_mail_only_have_no_sms(kind: NotificationType) -> None:
    with pytest.raises(NoSmsForType, match=kind):
        render_sms(kind, SAMPLES[kind], SAMPLE_SITE)


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("order_confirmation", ["ORD-20260305-000042", "Rs 1,23,456.50"]),
        ("order_shipped", ["ORD-20260305-000042", "BlueDart 79812345671", "5 March 2026"]),
        ("payment_failed", ["ORD-20260305-000042", f"{SAMPLE_SITE}/orders/ORD-20260305-000042/pay "]),
        ("subscription_renewal", ["A2 Cow Milk, 1 litre", "Rs 75.00"]),
        (
            "delivery_skipped",
            [
                "A2 Cow Milk, 1 litre on 5 March 2026: your autopay limit is too low. ",
                f"{SAMPLE_SITE}/subscriptions/42 ",
            ],
        ),
        ("subscription_paused", ["Your A2 Cow Milk, 1 litre subscription", f"{SAMPLE_SITE}/subscriptions/42 "]),
    ],
)
def test_a_typical_sms_states_its_facts_in_one_segment_and_is_signed(kind: str, facts: list[str]) -> None:
    text = sms(NotificationType(kind))

    assert all(fact in text for fact in facts)
    assert text.endswith(" - IndoStar Naturals")
    assert set(text) <= GSM7
    assert len(text) <= 160


@pytest.mark.parametrize(
    ("kind", "text", "segments"),
    [
        (
            "order_confirmation",
            "आपका ऑर्डर ORD-20260305-000042 कन्फ़र्म हो गया है। कुल राशि: ₹1,23,456.50। धन्यवाद।",
            2,
        ),
        (
            "order_shipped",
            "आपका ऑर्डर ORD-20260305-000042 रवाना हो गया है। ट्रैकिंग: BlueDart 79812345671। संभावित डिलीवरी: 5 मार्च 2026।",
            2,
        ),
        (
            "payment_failed",
            (
                "आपके ऑर्डर ORD-20260305-000042 का भुगतान नहीं हो पाया। "
                f"यहाँ भुगतान करें: {SAMPLE_SITE}/orders/ORD-20260305-000042/pay"
            ),
            3,
        ),
        (
            "subscription_renewal",
            "आपके A2 Cow Milk, 1 litre सब्सक्रिप्शन की अगली डिलीवरी जल्द होगी। राशि: ₹75.00।",
            2,
        ),
        (
            "delivery_skipped",
            (
                "डिलीवरी रद्द: A2 Cow Milk, 1 litre, 5 मार्च 2026। कारण: आपकी ऑटोपे सीमा कम है। "
                f"{SAMPLE_SITE}/subscriptions/42"
            ),
            3,
        ),
        (
            "subscription_paused",
            (
                "आपका A2 Cow Milk, 1 litre सब्सक्रिप्शन रोक दिया गया है। लगातार असफल भुगतान: 3। "
                f"फिर शुरू करें: {SAMPLE_SITE}/subscriptions/42"
            ),
            3,
        ),
    ],
)
def test_a_typical_sms_in_hindi_states_its_facts_briefly_and_is_signed(kind: str, text: str, segments: int) -> None:
    rendered = sms(NotificationType(kind), Locale.HI)

    assert rendered == f"{text} - IndoStar Naturals"
    assert size_of(rendered) == SmsSize("UCS-2", segments)


@pytest.mark.parametrize(("kind", "locale"), TEXTED)
def test_an_sms_needs_only_its_own_keys(kind: NotificationType, locale: Locale) -> None:
    own = {key: value for key, value in SAMPLES[kind].items() if key in SMS_CONTEXTS[kind].model_fields}

    assert render_sms(kind, own, SAMPLE_SITE, locale).text == sms(kind, locale)


def test_typography_in_a_value_does_not_cost_a_segment() -> None:
    text = sms(
        NotificationType.SUBSCRIPTION_RENEWAL, product_name="Asha\u2019s \u201cgold\u201d\u00a0ghee \u2013 1\u202fl"
    )

    assert 'Asha\'s "gold" ghee - 1 l' in text
    assert set(text) <= GSM7


def test_a_name_in_an_indian_script_stays_as_it_is() -> None:
    assert "गाय का दूध" in sms(NotificationType.SUBSCRIPTION_RENEWAL, product_name="गाय का दूध")


@pytest.mark.parametrize(("kind", "locale"), TEXTED)
@untimed
@given(text=texts)
@example(text="₹")
def test_an_sms_is_one_line_without_control_characters(kind: NotificationType, locale: Locale, text: str) -> None:
    rendered = render_sms(kind, with_text(kind, text), SAMPLE_SITE, locale).text

    assert rendered == one_line(rendered)
