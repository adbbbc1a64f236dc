"""`indostar templates check`, `templates preview`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from app.cli.group import FAILED, cli
from app.cli.options import SYSTEM, AsJson

E = TypeVar("E", bound=StrEnum)


class Format(StrEnum):
    TEXT = "text"
    HTML = "html"
    SMS = "sms"


templates = typer.Typer(no_args_is_help=True, help="Look at what customers are sent, and check it before a release.")
cli.add_typer(templates, name="templates", rich_help_panel=SYSTEM)


@templates.command()
def check(
    dlt: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Registered texts, as in app/notify/dlt.toml, the default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare each SMS with the text that is registered with the operators (DLT). Exit code 1 where they differ."""
    from app.cli import output
    from app.notify.dlt import REGISTERED, registered_texts, written
    from app.notify.dlt_check import mismatches

    found = mismatches(registered_texts(dlt or REGISTERED))
    checked = len(list(written()))
    if as_json:
        output.print_json({"checked": checked, "mismatches": found})
    else:
        typer.echo("\n".join(map(str, found)) or f"{checked} SMS are as they are registered")
    if found:
        raise typer.Exit(FAILED)


@templates.command()
def preview(
    kind: Annotated[str | None, typer.Argument(metavar="TYPE", help="A type of notification: all of them.")] = None,
    locale: Annotated[str | None, typer.Option(help="A language: all of them.")] = None,
    form: Annotated[Format | None, typer.Option("--format", help="One of the three: all of them.")] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, metavar="FOLDER", help="Write files, to open in a browser.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show mail and SMS of each type, filled in with sample facts."""
    from app.cli import template_pages
    from app.notify.locales import Locale
    from app.notify.previews import languages, previews
    from app.notify.types import SMS_CONTEXTS, NotificationType

    chosen, spoken = _one_of(NotificationType, kind, "TYPE"), _one_of(Locale, locale, "--locale")
    if chosen and spoken and spoken not in languages(chosen):
        raise typer.BadParameter(f"{chosen} is sent in {', '.join(languages(chosen))} only", param_hint="--locale")
    if chosen and chosen not in SMS_CONTEXTS and form is Format.SMS:
        raise typer.BadParameter(f"{chosen} goes by mail only", param_hint="--format")
    shown = list(previews(chosen, spoken))
    if out is not None:
        template_pages.write_files(shown, form, out, as_json=as_json)
    elif as_json:
        template_pages.print_json(shown)
    elif form is None:
        template_pages.print_overview(shown)
    else:
        template_pages.print_texts(shown, form)


def _one_of(kind: type[E], value: str | None, name: str) -> E | None:
    try:
        return None if value is None else kind(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(kind)}", param_hint=name) from None
