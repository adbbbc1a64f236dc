"""`indostar schedules`, `schedule run`, `schedule pause`, `schedule resume`."""

from datetime import date
from typing import Annotated

import typer

from app.cli.group import cli
from app.cli.options import SCHEDULES, AsJson, read_date

ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="A schedule's name, which is its task's.")]

schedule = typer.Typer(no_args_is_help=True, help="Run a schedule now, pause it, resume it.")
cli.add_typer(schedule, name="schedule", rich_help_panel=SCHEDULES)


@cli.command(rich_help_panel=SCHEDULES)
def schedules(as_json: AsJson = False) -> None:
    """Show when schedules run, and how their last runs ended."""
    from app.cli import asking, tables
    from app.operations.views import ScheduleView

    async def ask() -> list[ScheduleView]:
        async with asking.operations() as opened:
            return await opened.schedules.all()

    tables.print_schedules(asking.run(ask()), as_json=as_json)


@schedule.command("run")
def run_now(
    name: ScheduleName,
    day: Annotated[
        date | None, typer.Option("--date", parser=read_date, metavar="DATE", help="The day to work for: today.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a schedule's job now, paused or not."""
    from app.cli import asking, output
    from app.operations.views import JobView

    async def act() -> JobView:
        async with asking.operations() as opened:
            return await opened.schedules.run(asking.operator(), name, day)

    job = asking.run(act())
    if as_json:
        output.print_json(job)
    else:
        typer.echo(job.id)


@schedule.command("pause")
def pause_schedule(name: ScheduleName, as_json: AsJson = False) -> None:
    """Fire no slot of a schedule any more."""
    from app.cli import asking, tables
    from app.operations.views import ScheduleView

    async def act() -> ScheduleView:
        async with asking.operations() as opened:
            return await opened.schedules.pause(asking.operator(), name)

    tables.print_schedule(asking.run(act()), as_json=as_json)


@schedule.command("resume")
def resume_schedule(name: ScheduleName, as_json: AsJson = False) -> None:
    """Fire the slots of a schedule again, from the next one on."""
    from app.cli import asking, tables
    from app.operations.views import ScheduleView

    async def act() -> ScheduleView:
        async with asking.operations() as opened:
            return await opened.schedules.resume(asking.operator(), name)

    tables.print_schedule(asking.run(act()), as_json=as_json)
