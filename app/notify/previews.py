"""What customers and the owner get to see, rendered from the samples."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.notify.locales import Locale
from app.notify.rendering import RenderedMail, render_mail, render_sms
from app.notify.samples import SAMPLE_SITE, SAMPLES
from app.notify.segments import SmsSize, size_of
from app.notify.types import SMS_CONTEXTS, TEMPLATES, NotificationType


@dataclass(frozen=True, slots=True)
class SmsPreview:
    text: str
    size: SmsSize


@dataclass(frozen=True, slots=True)
class Preview:
    """`sms` is None for a type that goes by mail only."""

    type: NotificationType
    locale: Locale
    mail: RenderedMail
    sms: SmsPreview | None


def languages(kind: NotificationType) -> list[Locale]:
    """Those in which the type is written."""
    return [locale for locale in Locale if (TEMPLATES / kind / locale).is_dir()]


def previews(kind: NotificationType | None = None, locale: Locale | None = None) -> Iterator[Preview]:
    """Of all types, or of one, in every language that each is written in, or in one."""
    for each in NotificationType if kind is None else [kind]:
        for spoken in languages(each):
            if locale in {None, spoken}:
                mail = render_mail(each, SAMPLES[each], SAMPLE_SITE, spoken)
                yield Preview(each, spoken, mail, _sms(each, spoken))


def _sms(kind: NotificationType, locale: Locale) -> SmsPreview | None:
    if kind not in SMS_CONTEXTS:
        return None
    text = render_sms(kind, SAMPLES[kind], SAMPLE_SITE, locale).text
    return SmsPreview(text, size_of(text))
