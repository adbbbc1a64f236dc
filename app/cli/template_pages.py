"""Previews of mail and SMS, on the terminal and as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from app.cli import output
from app.cli.output import Column
from app.cli.templates import Format
from app.notify.previews import Preview

COLUMNS = (
    Column("TYPE"),
    Column("LANGUAGE"),
    Column("SUBJECT"),
    Column("SMS"),
    Column("ENCODING"),
    Column("SEGMENTS", is_right=True),
)
_ENDINGS = {Format.TEXT: "txt", Format.HTML: "html", Format.SMS: "sms.txt"}


def print_overview(previews: Sequence[Preview]) -> None:
    rows = [
        (
            *(preview.type, preview.locale, preview.mail.subject),
            *(
                (preview.sms.text, preview.sms.size.encoding, preview.sms.size.segments)
                if preview.sms
                else ("", "", "")
            ),
        )
        for preview in previews
    ]
    output.print_table(COLUMNS, rows, empty="there is no such message")


def print_json(previews: Sequence[Preview]) -> None:
    output.print_json({"items": [_as_json(preview) for preview in previews]})


def print_texts(previews: Sequence[Preview], form: Format) -> None:
    """One after another, each with a line of its own before it where there are several."""
    shown = [(preview, text) for preview in previews if (text := _text(preview, form)) is not None]
    for preview, text in shown:
        if len(shown) > 1:
            typer.echo(f"--- {preview.type} ({preview.locale})")
        typer.echo(text.rstrip("\n"))


def write_files(previews: Sequence[Preview], form: Format | None, folder: Path, *, as_json: bool) -> None:
    """A file for each form of each message, as `order_confirmation.hi.html`; prints where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for preview in previews:
        for each in Format if form is None else [form]:
            if (text := _text(preview, each)) is not None:
                file = folder / f"{preview.type}.{preview.locale}.{_ENDINGS[each]}"
                file.write_text(text, encoding="utf-8")
                files.append(str(file))
    if as_json:
        output.print_json({"files": files})
    else:
        typer.echo("\n".join(files))


def _text(preview: Preview, form: Format) -> str | None:
    match form:
        case Format.TEXT:
            return f"Subject: {preview.mail.subject}\n\n{preview.mail.text}"
        case Format.HTML:
            return preview.mail.html
        case Format.SMS if preview.sms is not None:
            size = preview.sms.size
            segments = "1 segment" if size.segments == 1 else f"{size.segments} segments"
            return f"{preview.sms.text}\n({len(preview.sms.text)} characters, {segments} of {size.encoding})\n"
    return None


def _as_json(preview: Preview) -> dict[str, Any]:
    mail, sms = preview.mail, preview.sms
    return {
        "type": preview.type,
        "locale": preview.locale,
        "mail": {"subject": mail.subject, "text": mail.text, "html": mail.html},
        "sms": sms and {"text": sms.text, "encoding": sms.size.encoding, "segments": sms.size.segments},
    }
