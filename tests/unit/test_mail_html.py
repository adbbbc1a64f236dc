import re

import pytest

from app.notify.locales import Locale
from app.notify.rendering import render_mail
from app.notify.samples import SAMPLE_SITE, SAMPLES
from app.notify.types import MOST_DELIVERIES, NotificationType
from tests.unit.notification_contexts import FACTS
from tests.unit.parsed_mail import Element, ParsedMail, declarations

COLOURED = ("color", "background-color", "border", "border-top")


@pytest.fixture(params=sorted(FACTS))
def written(request: pytest.FixtureRequest) -> tuple[NotificationType, Locale]:
    """Each type in each language that it is written in."""
    kind_and_locale: tuple[NotificationType, Locale] = request.param
    return kind_and_locale


@pytest.fixture
def mail(written: tuple[NotificationType, Locale]) -> ParsedMail:
    kind, locale = written
    return ParsedMail(render_mail(kind, SAMPLES[kind], SAMPLE_SITE, locale).html)


def dark_rules(mail: ParsedMail) -> dict[str, dict[str, str]]:
    """What the dark scheme says of each class."""
    found = re.search(r"@media \(prefers-color-scheme: dark\) \{(.*?\})\s*\}", mail.first("style").text, re.DOTALL)
    assert found
    return {
        name: declarations(block.replace("!important", ""))
        for name, block in re.findall(r"\.(\w+) \{(.*?)\}", found[1])
    }


def in_dark(element: Element, rules: dict[str, dict[str, str]]) -> dict[str, str]:
    style = element.style
    for name in element.classes:
        style |= rules.get(name, {})
    return style


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, "contrast ratio"."""

    def luminance(colour: str) -> float:
        channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_a_mail_is_small_tables_at_most_600_pixels_wide(mail: ParsedMail) -> None:
    tables = mail.all("table")

    assert all(table.attributes["role"] == "presentation" for table in tables)
    assert all(table.attributes["cellpadding"] == table.attributes["cellspacing"] == "0" for table in tables)
    assert tables[1].style["max-width"] == "600px"
    assert tables[1].style["width"] == "100%"
    assert {element.tag for element in mail.elements} <= {
        *("html", "head", "meta", "title", "style", "body", "div"),
        *("table", "tr", "td", "h1", "p", "a", "br", "span"),
    }


def test_nothing_is_fetched_from_elsewhere(mail: ParsedMail) -> None:
    everything = mail.first("style").text + "".join(element.attributes.get("style", "") for element in mail.elements)

    assert "url(" not in everything
    assert "@import" not in everything
    assert not [element for element in mail.elements if "src" in element.attributes]


def test_a_mail_names_its_language_title_and_preview(
    mail: ParsedMail, written: tuple[NotificationType, Locale]
) -> None:
    preview = mail.first("div")

    assert mail.first("html").attributes["lang"] == f"{written[1]}-IN"
    assert mail.first("title").text.strip()
    assert preview.style["display"] == "none"
    assert re.match(r"\w[^\u034f]{10,}", preview.text.removeprefix("₹"))


def test_every_text_carries_its_style_with_it(mail: ParsedMail) -> None:
    for element in (*mail.all("h1"), *mail.all("p"), *mail.all("a"), *mail.all("span")):
        assert "color" in element.style
        styles = [element.style] + [parent.style for parent in element.parents]
        assert any("font-size" in style for style in styles)
        assert any("font-family" in style for style in styles)


def test_a_mail_declares_both_colour_schemes(mail: ParsedMail) -> None:
    named = {
        meta.attributes["name"]: meta.attributes.get("content")
        for meta in mail.all("meta")
        if "name" in meta.attributes
    }

    assert named["color-scheme"] == named["supported-color-schemes"] == "light dark"
    assert "color-scheme: light dark" in mail.first("style").text


def test_every_colour_has_one_for_the_dark(mail: ParsedMail) -> None:
    rules = dark_rules(mail)

    for element in mail.elements:
        overridden = {name for class_ in element.classes for name in rules.get(class_, {})}
        for name in set(COLOURED) & element.style.keys():
            assert ("border-color" if name.startswith("border") else name) in overridden, element


def test_backgrounds_are_the_same_for_clients_without_css(mail: ParsedMail) -> None:
    painted = [element for element in mail.elements if "bgcolor" in element.attributes]

    assert painted
    assert all(element.attributes["bgcolor"] == element.style["background-color"] for element in painted)


def test_dark_colours_win_over_inline_ones(mail: ParsedMail) -> None:
    dark = mail.first("style").text.partition("prefers-color-scheme: dark")[2].partition("@media")[0]

    assert dark.count("#") == dark.count("!important") > 0


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_background(mail: ParsedMail, dark: bool) -> None:
    rules = dark_rules(mail) if dark else {}

    for element in mail.elements:
        if "color" not in element.style:
            continue
        around = [in_dark(parent, rules) for parent in (*element.parents, element)]
        background = [style["background-color"] for style in around if "background-color" in style][-1]
        assert contrast(in_dark(element, rules)["color"], background) >= 4.5, element


def test_no_colour_is_pure_black_or_white(mail: ParsedMail) -> None:
    # Clients that invert colours by themselves turn those two into each other, and glaring.
    colours = {
        colour.lower()
        for element in mail.elements
        for colour in re.findall(r"#[0-9a-fA-F]{3,6}\b", element.attributes.get("style", ""))
    }

    assert colours
    assert not colours & {"#fff", "#ffffff", "#000", "#000000"}


def test_even_the_longest_values_stay_under_what_clients_cut_off(written: tuple[NotificationType, Locale]) -> None:
    kind, locale = written
    longest: dict[str, object] = {
        "order_number": '"' * 100,
        "customer_name": '"' * 255,
        "distributor_name": '"' * 255,
        "delivery_address": "\n".join('"' * 1000),
        "reset_url": "https://shop.example/" + "&" * 2000,
        "verification_url": "https://shop.example/" + "&" * 2000,
        **dict.fromkeys(
            ("tracking_info", "expected_delivery", "failure_reason", "product_name", "frequency"), '"' * 500
        ),
    }

    if kind is NotificationType.SUBSCRIPTION_RENEWAL:
        # As long as the shop's columns are.
        one = {"product_name": '"' * 255, "frequency": "alternate_days", "amount": "99999999.99", "subscription_id": 1}
        longest["others"] = [one] * (MOST_DELIVERIES - 1)

    html = render_mail(kind, {**SAMPLES[kind], **longest}, SAMPLE_SITE, locale).html

    assert len(html.encode()) < 100_000
