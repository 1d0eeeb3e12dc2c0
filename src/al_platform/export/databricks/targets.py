"""The places a bundle is deployed to, and what each of them changes."""

from collections.abc import Mapping
from typing import Any

from databricks.bundles.core import Variable
from databricks.bundles.jobs import GitProvider, GitSource, JobPermission, JobPermissionLevel

from al_platform.domain.errors import ConfigError, known_names
from al_platform.export.databricks.names import PREFIX, variable
from al_platform.export.databricks.options import DatabricksOptions, Target
from al_platform.export.databricks.storage import Governed, target_storage

_USER = "${workspace.current_user.short_name}"


def target_settings(name: str, target: Target) -> dict[str, Any]:
    """Return what ``databricks.yml`` says of a target."""
    variables = {"catalog": target.catalog, "schema": target.schema_name, "env": target.env}
    if target.prefix != PREFIX:
        variables["prefix"] = target.prefix
    if target.mode == "development":
        own = {"secret_scope": f"{PREFIX}-{name}-{_USER}", "service_principal": "", "storage_root": ""}
        return {"default": name == "dev", "mode": target.mode, "variables": {**variables, **own}}
    return {
        "mode": target.mode,
        **({"presets": {"trigger_pause_status": "PAUSED"}} if target.is_paused else {}),
        # In a shared folder anybody could change what production runs.
        "workspace": {
            "root_path": f"/Workspace/Users/{variable('service_principal')}/.bundle/${{bundle.name}}/${{bundle.target}}"
        },
        "run_as": {"service_principal_name": variable("service_principal")},
        "variables": {**variables, "secret_scope": f"{PREFIX}-{name}"},
    }


def target_resources(
    target: Target, jobs: Mapping[str, Any], governed: Governed, options: DatabricksOptions
) -> dict[str, Any]:
    """Return what a target changes in the bundle's resources; nothing where it is each user's own."""
    if target.mode == "development":
        return {}
    permissions = _permissions(governed, options)
    changed = {key: {"permissions": permissions, **_source(job, target)} for key, job in jobs.items()}
    return {"jobs": changed, **target_storage(governed, target)}


def _permissions(governed: Governed, options: DatabricksOptions) -> list[dict[str, Any]]:
    groups = {role.name: group for group, role in governed.roles.items()}
    for name in options.permissions.keys() - groups.keys():
        raise ConfigError(f"databricks.permissions names the role {name!r}. {known_names(name, groups)}")
    return [
        dict(JobPermission(group_name=groups[name], level=JobPermissionLevel(level)).as_dict())
        for name, level in options.permissions.items()
    ]


def _source(job: Mapping[str, Any], target: Target) -> dict[str, Any]:
    keys = [task["task_key"] for task in job["tasks"] if "notebook_task" in task]
    if target.source == "workspace" or not keys:
        return {}
    provider: Variable[GitProvider] = Variable(path="var.git_provider", type=GitProvider)
    source = GitSource(git_url=variable("git_url"), git_provider=provider, git_commit=variable("git_commit"))
    # A notebook in a repository has neither a leading ./ nor an ending.
    changed = [{"task_key": k, "notebook_task": {"notebook_path": f"notebooks/{k}", "source": "GIT"}} for k in keys]
    return {"git_source": dict(source.as_dict()), "tasks": changed}
