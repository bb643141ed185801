"""`edgegen doctor`."""

from __future__ import annotations

import click

from edgegen.cli.command import command
from edgegen.cli.console import Console
from edgegen.core.errors import MissingDependencyError


@command(examples=("edgegen doctor",), ends_with=("MissingDependencyError",))
@click.option("--json", "as_json", is_flag=True, help="Write what was found as JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what is here, what is missing, and the command that installs it.

    Below that it says which processors of the known devices packages reach, and what of that was
    shown.

    Exits with 3 where something is missing that edgegen cannot do without.
    """
    from edgegen.cli.roads import show_roads
    from edgegen.devices.profiles import list_profiles
    from edgegen.devices.roads import roads_of
    from edgegen.doctor.diagnosis import diagnose

    console = context.find_object(Console) or Console()
    findings = diagnose()
    roads = [road for profile in list_profiles() for road in roads_of(profile)]
    if as_json:
        console.json({"findings": findings, "roads": roads})
    else:
        for group in dict.fromkeys(finding.group for finding in findings):
            rows = [
                (finding.status, finding.name, finding.found, finding.remedy)
                for finding in findings
                if finding.group == group
            ]
            console.table(group, ("", "what", "found", "to do"), rows)
        show_roads(console, roads)
    lacking = [each for each in findings if each.essential and each.status == "missing"]
    if lacking and as_json:
        context.exit(MissingDependencyError.exit_code)
    if lacking:
        raise MissingDependencyError(
            f"edgegen does not work without {', '.join(each.name for each in lacking)}.",
            hint=lacking[0].remedy,
        )
