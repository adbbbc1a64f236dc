"""The SMS that we send are the texts that are registered with the operators."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import Refused
from app.notify import dlt
from app.notify.dlt import Pattern, TextsUnreadable, registered_pattern, registered_texts, sms_template
from app.notify.dlt_check import Mismatch, mismatches
from app.notify.locales import Locale
from app.notify.rendering import render_sms
from app.notify.samples import SAMPLE_SITE, SAMPLES
from app.notify.types import DEFAULT_PATHS, SMS_CONTEXTS, TEMPLATES, NotificationType
from app.setting_values import LONGEST_LINK

TEXTS = registered_texts()
TEXTED = [(kind, locale) for kind in SMS_CONTEXTS for locale in Locale]
SHIPPED = ("order_shipped", "en")

# The first example of a run compiles the templates.
untimed = settings(deadline=None)


def as_the_operators_match(text: str) -> re.Pattern[str]:
    """A text that is sent is to match this: 30 characters to a variable, of which the last in a row may be empty."""
    parts = re.split(r"((?:\{#var#\})+)", text)
    return re.compile(
        "".join(
            f"(.{{1,{30 * part.count('#var#')}}})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
        )
    )


def longest(kind: NotificationType) -> dict[str, object]:
    """As long as the types allow."""
    values: dict[str, object] = {
        "order_number": "N" * 100,
        "order_total": "99999999.99",
        "amount": "99999999.99",
        "tracking_info": "BlueDart " * 55,
        "expected_delivery": "within some days " * 29,
        "product_name": "Organic Jaggery Powder " * 21,
        "delivery_dates": [f"9999-{month}-{day}" for month in range(10, 13) for day in range(10, 30)],
        "reason": "the road is flooded " * 24,
        "refusals": 10**18,
        "subscription_url": "https://elsewhere.example/" + "x" * 2000,
        "retry_payment_url": "https://elsewhere.example/" + "x" * 2000,
    }
    return {name: values[name] for name in SMS_CONTEXTS[kind].model_fields}


def test_every_sms_is_registered_in_every_language_as_it_is_sent() -> None:
    assert set(TEXTS) == {(kind.value, locale.value) for kind, locale in TEXTED}
    assert mismatches(TEXTS) == []


@pytest.mark.parametrize(("kind", "locale"), TEXTED)
def test_a_typical_sms_is_the_registered_text(kind: NotificationType, locale: Locale) -> None:
    sms = render_sms(kind, SAMPLES[kind], SAMPLE_SITE, locale)

    assert as_the_operators_match(TEXTS[kind, locale]).fullmatch(sms.text)
    assert all("..." not in words for words in sms.variables.values())


@pytest.mark.parametrize(("kind", "locale"), TEXTED)
@pytest.mark.parametrize("site", [SAMPLE_SITE, "https://" + "x" * (LONGEST_LINK - len("https://"))])
def test_the_longest_values_still_make_the_registered_text(kind: NotificationType, locale: Locale, site: str) -> None:
    sms = render_sms(kind, longest(kind), site, locale)

    assert as_the_operators_match(TEXTS[kind, locale]).fullmatch(sms.text)
    for name in sms.variables.keys() & DEFAULT_PATHS.keys():
        assert sms.variables[name].startswith(site)


@pytest.mark.parametrize(("kind", "locale"), TEXTED)
@untimed
@given(words=st.text(min_size=1, max_size=100).filter(str.strip), link=st.text(max_size=120))
@example(words="₹ “x” {{ 7*7 }} {#var#}", link="/subscriptions/42")
def test_whatever_is_told_it_is_the_registered_text(
    kind: NotificationType, locale: Locale, words: str, link: str
) -> None:
    free = {"order_number", "tracking_info", "expected_delivery", "product_name", "reason"}
    context = {name: words if name in free else value for name, value in SAMPLES[kind].items()}
    links = dict.fromkeys(DEFAULT_PATHS, f"https://pay.example/{link}")
    try:
        sms = render_sms(kind, context | links, SAMPLE_SITE, locale)
    except Refused:
        return

    assert as_the_operators_match(TEXTS[kind, locale]).fullmatch(sms.text)


def test_a_link_that_is_too_long_gives_way_to_the_shops_own_page() -> None:
    def leads_to(**changes: str) -> str:
        return render_sms("payment_failed", {"order_number": "ORD-1", **changes}, SAMPLE_SITE).variables[
            "retry_payment_url"
        ]

    assert leads_to() == f"{SAMPLE_SITE}/orders/ORD-1/pay"
    assert leads_to(retry_payment_url="https://rzp.example/i/x–y") == "https://rzp.example/i/x–y"  # noqa: RUF001
    assert leads_to(retry_payment_url="https://rzp.example/" + "x" * 71) == f"{SAMPLE_SITE}/orders/ORD-1/pay"
    assert leads_to(order_number="ORD-" + "1" * 90) == SAMPLE_SITE


def changed(key: tuple[str, str], old: str, new: str) -> list[str]:
    """What the check says when the registered text has `new` where it had `old`."""
    assert old in TEXTS[key]
    return [str(found) for found in mismatches({**TEXTS, key: TEXTS[key].replace(old, new)})]


ANEW = "change the template, or register its text anew"
HINDI = ("order_confirmation", "hi")


@pytest.mark.parametrize(
    ("key", "old", "new", "where", "what"),
    [
        (
            *(SHIPPED, "Your order", "The order", "at the beginning"),
            f"from its character 1 on we send 'Your order ' where 'The order ' is registered: {ANEW}",
        ),
        (
            *(SHIPPED, ". - IndoStar", " - IndoStar", "after {{ expected_delivery }}"),
            "from its character 1 on we send '. - IndoStar Naturals' where ' - IndoStar Naturals' is registered: "
            + ANEW,
        ),
        (
            *(SHIPPED, "way. ", "way.  ", "after {{ order_number }}"),
            f"from its character 17 on we send 'Tracking: ' where ' Tracking: ' is registered: {ANEW}",
        ),
        (
            *(SHIPPED, "Naturals", "Naturals.", "after {{ expected_delivery }}"),
            f"from its character 22 on we send '' where '.' is registered: {ANEW}",
        ),
        (
            *(("payment_failed", "hi"), "{#var#}{#var#}{#var#}", "{#url#}{#url#}", "{{ retry_payment_url }}"),
            "it has up to 90 characters, and 60 are registered: register {#var#}{#var#}{#var#}",
        ),
        (
            *(SHIPPED, "{#var#}", "{var}", "the whole registered text"),
            "it has braces that are not {#var#}: copy it as it is registered",
        ),
        (
            # One character for the letter, which the normal form takes apart.
            *(HINDI, "फ़", "\u095e", "after {{ order_number }}"),
            "the same letters are put together from different characters: copy the registered text (in Unicode NFC)",
        ),
    ],
)
def test_a_mismatch_is_one_line_that_says_where_and_what_to_do(
    key: tuple[str, str], old: str, new: str, where: str, what: str
) -> None:
    assert changed(key, old, new) == [f"{key[0]} ({key[1]}), {where}: {what}"]


def test_a_variable_more_or_less_is_a_mismatch() -> None:
    found = changed(("subscription_renewal", "en"), ". - IndoStar", " from {#var#}. - IndoStar")

    assert [line.partition(": ")[0] for line in found] == [
        "subscription_renewal (en), after {{ amount }}",
        "subscription_renewal (en), the whole text",
    ]
    assert "the template has 2 variables (product_name, amount), registered are 3: " in found[1]


def test_what_is_not_registered_and_what_is_not_sent_are_mismatches() -> None:
    texts = dict(TEXTS)
    text = texts.pop(SHIPPED).replace("{#var#}{#var#}", "{#var#}")
    texts["order_eaten", "mr"] = "x"

    assert mismatches(texts) == [
        Mismatch(*SHIPPED, "the whole text", f"it is not registered: register {text!r}, then add it"),
        Mismatch(*("order_eaten", "mr", "the whole text"), "we send no such SMS: remove it from the registered texts"),
    ]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% if product_name %}Your{% endif %}", "it may hold nothing but text and {{ variables }}"),
        ("Your {{ product_name | upper }}", "it may hold nothing but text and {{ variables }}"),
        ("Your {{ product_name }}{{ amount }}", "it may hold nothing but text and {{ variables }}"),
        ("Your {# comment #} {{ product_name }}", "it may hold nothing but text and {{ variables }}"),
        (
            "Your {{ product }} subscription renews soon. Amount: {{ amount }}. - IndoStar Naturals",
            "an SMS of this type has no such variable: use product_name, amount",
        ),
    ],
)
def test_a_template_that_is_more_than_a_text_with_gaps_is_a_mismatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, problem: str
) -> None:
    for kind, locale in TEXTED:
        folder = tmp_path / kind / locale
        folder.mkdir(parents=True)
        (folder / "sms.txt").write_text((TEMPLATES / kind / locale / "sms.txt").read_text())
    (tmp_path / "subscription_renewal" / "en" / "sms.txt").write_text(source)
    monkeypatch.setattr(dlt, "TEMPLATES", tmp_path)

    [found] = mismatches(TEXTS)

    assert (found.type, found.locale) == ("subscription_renewal", "en")
    assert problem in found.problem


def test_a_text_is_read_with_its_gaps() -> None:
    assert registered_pattern("{#var#} of {#url#}{#var#}.") == Pattern(("", " of ", "."), (1, 2))
    assert sms_template(NotificationType.SUBSCRIPTION_RENEWAL, Locale.EN) == Pattern(
        ("Your ", " subscription renews soon. Amount: ", ". - IndoStar Naturals"), ("product_name", "amount")
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[order_shipped]\nen = 5\n", "order_shipped en is no text"),
        (b"order_shipped = 'x'\n", "order_shipped is no text"),
        (b"[order_shipped\n", "Expected ']'"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_it_should_be(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "dlt.toml"
    file.write_bytes(content)

    with pytest.raises(TextsUnreadable, match=re.escape(says)) as refusal:
        registered_texts(file)

    assert str(refusal.value).startswith(f"{file}: ")
    assert "a table for each type" in str(refusal.value)
