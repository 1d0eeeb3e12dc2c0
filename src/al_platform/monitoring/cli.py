"""The command ``kedro al monitor``. What is heavy is imported inside it."""

import json

import click
from kedro.framework.cli.utils import env_option


@click.command()
@click.option("--cycle", default=None, help="Month, YYYY-MM; by default each family's newest that was scored.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@env_option
def monitor(cycle: str | None, as_json: bool, env: str | None) -> None:
    """See whether traffic drifted or accuracy fell, and propose an early quarterly where one did.

    What is found is kept in the store of the logs, below monitoring/. Exit code 1 if somebody could not be told.
    """
    from al_platform.domain.cycles import parse_cycle
    from al_platform.monitoring.monitor import monitor as look
    from al_platform.monitoring.show import print_findings
    from al_platform.project import project_loader

    found = look(project_loader(env), parse_cycle(cycle) if cycle else None)
    if as_json:
        click.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    else:
        print_findings(found, env)
    if any(each.untold for each in found):
        raise click.exceptions.Exit(1)
