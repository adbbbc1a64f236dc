"""The body of SendGrid's `POST /v3/mail/send`, and every rule that it must keep."""

from functools import lru_cache
from typing import Annotated, Literal, Self

from email_validator import validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import to_json

_RESERVED_HEADERS = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)


@lru_cache(maxsize=1024)  # the check takes longer than the rest of a request, and a shop has few senders
def _address(value: str) -> str:
    validate_email(value, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    return value


def _small(arguments: dict[str, str]) -> dict[str, str]:
    if len(to_json(arguments)) > 10_000:
        raise ValueError("must not have more than 10,000 bytes")
    return arguments


def _not_reserved(headers: dict[str, str]) -> dict[str, str]:
    reserved = [name for name in headers if name.lower() in _RESERVED_HEADERS]
    if reserved:
        raise ValueError(f"{', '.join(reserved)} can't be set here")
    return headers


Arguments = Annotated[dict[str, str], AfterValidator(_small)]
Headers = Annotated[dict[str, str], AfterValidator(_not_reserved)]
Line = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Address(_Strict):
    email: Annotated[str, AfterValidator(_address)]
    name: str | None = None


class Personalization(_Strict):
    """One mail to one or more people."""

    from_: Address | None = Field(default=None, alias="from")
    to: list[Address] = Field(min_length=1)
    cc: list[Address] = []
    bcc: list[Address] = []
    subject: Line | None = None
    headers: Headers = {}
    substitutions: Arguments = {}
    dynamic_template_data: dict[str, JsonValue] = {}
    custom_args: Arguments = {}
    send_at: int | None = None

    def recipients(self) -> tuple[str, ...]:
        return tuple(address.email for address in (*self.to, *self.cc, *self.bcc))

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        recipients = [recipient.lower() for recipient in self.recipients()]
        if len(recipients) != len(set(recipients)):
            raise ValueError("each address must be unique between to, cc and bcc")
        return self


class Content(_Strict):
    type: str = Field(pattern=r"^[^;\r\n]+$")
    value: Line


class Attachment(_Strict):
    content: Line
    type: Line | None = None
    filename: str
    disposition: Literal["inline", "attachment"] = "attachment"
    content_id: str | None = None


class UnsubscribeGroup(_Strict):
    group_id: int
    groups_to_display: list[int] = Field(default=[], max_length=25)


class Switch(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    enable: bool = False


MailSetting = Literal[
    "bypass_list_management",
    "bypass_spam_management",
    "bypass_bounce_management",
    "bypass_unsubscribe_management",
    "footer",
    "sandbox_mode",
]
TrackingSetting = Literal["click_tracking", "open_tracking", "subscription_tracking", "ganalytics"]


class Mail(_Strict):
    """The body of a request. The rules between its fields read the ones before, so their order matters."""

    personalizations: list[Personalization] = Field(min_length=1, max_length=1000)
    from_: Address = Field(alias="from")
    reply_to: Address | None = None
    reply_to_list: list[Address] | None = Field(default=None, max_length=1000)
    template_id: Line | None = None
    subject: Annotated[Line | None, Field(validate_default=True)] = None
    content: Annotated[list[Content] | None, Field(validate_default=True)] = None
    attachments: list[Attachment] = []
    headers: Headers = {}
    categories: list[Annotated[str, Field(max_length=255)]] = Field(default=[], max_length=10)
    custom_args: Arguments = {}
    send_at: int | None = None
    batch_id: str | None = None
    asm: UnsubscribeGroup | None = None
    ip_pool_name: str | None = Field(default=None, min_length=2, max_length=64)
    mail_settings: dict[MailSetting, Switch] = {}
    tracking_settings: dict[TrackingSetting, Switch] = {}

    @field_validator("personalizations")
    @classmethod
    def _at_most_1000_recipients(cls, personalizations: list[Personalization]) -> list[Personalization]:
        if sum(len(personalization.recipients()) for personalization in personalizations) > 1000:
            raise ValueError("at most 1000 recipients (to + cc + bcc) a request")
        return personalizations

    @field_validator("reply_to_list")
    @classmethod
    def _one_way_to_say_reply_to(
        cls, reply_to_list: list[Address] | None, info: ValidationInfo
    ) -> list[Address] | None:
        if reply_to_list is not None and info.data.get("reply_to") is not None:
            raise ValueError("reply_to and reply_to_list exclude each other")
        return reply_to_list

    @field_validator("subject")
    @classmethod
    def _subject_somewhere(cls, subject: str | None, info: ValidationInfo) -> str | None:
        personalizations = info.data.get("personalizations", [])
        everywhere = all(personalization.subject for personalization in personalizations)
        if not (subject or everywhere or info.data.get("template_id")):
            raise ValueError("required, unless a template or every personalization has one")
        return subject

    @field_validator("content")
    @classmethod
    def _plain_text_first(cls, content: list[Content] | None, info: ValidationInfo) -> list[Content] | None:
        if not content and not info.data.get("template_id"):
            raise ValueError("required, unless there is a template_id")
        types = [part.type for part in content or []]
        if types != sorted(types, key=lambda type_: {"text/plain": 0, "text/html": 1}.get(type_, 2)):
            raise ValueError("text/plain must be first, then text/html, then anything else")
        return content

    @field_validator("categories")
    @classmethod
    def _no_category_twice(cls, categories: list[str]) -> list[str]:
        if len(categories) != len(set(categories)):
            raise ValueError("categories must be unique")
        return categories

    def senders(self) -> set[str]:
        own = {personalization.from_.email for personalization in self.personalizations if personalization.from_}
        return own | {self.from_.email}

    def part(self, type_: str) -> str | None:
        return next((part.value for part in self.content or [] if part.type == type_), None)
