"""The command `indostar`: what can go wrong in the world is a line and an exit code, and not a traceback."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

DONE, FAILED, WRONG_CALL = 0, 1, 2


class Commands(TyperGroup):
    """Its commands may raise what the servers and the parts of this system raise."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            return super().main(*args, **options)
        except BrokenPipeError:
            # Whoever reads the output has read enough.
            raise
        except Exception as error:
            # Imported when something did go wrong: all these errors take half a second and tens of megabytes.
            from app.cli.mishaps import mishap

            told = mishap(error)
            if told is None:
                raise
            typer.echo(told.sentence, err=True)
            sys.exit(told.exit_code)


cli = typer.Typer(
    name="indostar", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)


@cli.callback()
def indostar() -> None:
    """IndoStar Naturals' background system. Exit code 0: done; 1: failed; 2: wrong call or settings."""
