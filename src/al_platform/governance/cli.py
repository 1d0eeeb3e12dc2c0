"""``kedro al governance``: the rights on the store, as files to review and to put in force."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    from al_platform.config import FamilyConfigLoader
    from al_platform.governance.options import GovernanceOptions


@click.command()
@env_option
@click.option("--check", is_flag=True, help="Write nothing; fail if a file is not as it would be written.")
@click.option("--apply", "is_applied", is_flag=True, help="Write nothing; put the settings of the S3 buckets in force.")
def governance(env: str | None, check: bool, is_applied: bool) -> None:
    """Write who may do what: IAM policies and bucket settings for S3, SQL for Unity Catalog."""
    from al_platform import families
    from al_platform.governance.options import GovernanceOptions
    from al_platform.project import project_loader

    if check and is_applied:
        raise click.UsageError("Give --check or --apply, not both.")
    loader = project_loader(env)
    families.configure(loader.families)
    options = loader.options("governance", GovernanceOptions)
    if is_applied:
        _apply(loader, options)
    else:
        _write(loader, options, check)


def _write(loader: "FamilyConfigLoader", options: "GovernanceOptions", check: bool) -> None:
    from al_platform.governance.documents import different_files, documents, write_files
    from al_platform.project import project_folder

    project, folder = project_folder(), Path("governance") / (loader.env or "local")
    expected = documents(loader, options)
    if not check:
        write_files(project / folder, expected)
        click.echo(f"{len(expected)} files written to {folder}.")
    if different := different_files(project / folder, expected):
        names = "\n".join(f"  {folder / name}" for name in different)
        remedy = "Run kedro al governance without --check" if check else "Remove what is generated no more"
        raise click.ClickException(f"Not as they are generated:\n{names}\n{remedy}, and review the difference.")


def _apply(loader: "FamilyConfigLoader", options: "GovernanceOptions") -> None:
    import boto3

    from al_platform.governance.apply import apply_settings, for_endpoint
    from al_platform.governance.documents import governed_s3

    client = boto3.client("s3")
    fitting = for_endpoint(options, client.meta.endpoint_url)
    if fitting.server != options.server:
        click.echo("A server on this machine: statements about TLS, conditional writes and single roles are left out.")
    for done in apply_settings(client, governed_s3(loader, fitting).buckets):
        click.echo(f"{done.bucket} {done.setting}: {done.outcome}")
    click.echo("Policies of roles are not applied: put governance/*/roles into what manages your account.")
