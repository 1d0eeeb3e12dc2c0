"""Where the data lies on Databricks: a schema, a volume for each class of data, and a scope for secrets.

Roles are those of ``kedro al governance``. A target that is not each user's own grants them their rights, and protects
schema and volumes against ``databricks bundle destroy``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from databricks.bundles.schemas import PrivilegeAssignment as SchemaRight
from databricks.bundles.schemas import Schema
from databricks.bundles.secret_scopes import SecretScope
from databricks.bundles.volumes import Privilege, Volume, VolumeType
from databricks.bundles.volumes import PrivilegeAssignment as VolumeRight

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError
from al_platform.export.databricks.names import SCHEMA, variable
from al_platform.export.databricks.options import Target
from al_platform.governance.access import Area, Role
from al_platform.governance.documents import roles_of, volumes_of
from al_platform.governance.options import GovernanceOptions
from al_platform.governance.unity_catalog import volume_rights

KEY = "al_platform"

# What lies outside the schema: the audit log's head is held where the rest cannot be written from.
_OUTSIDE: tuple[Area, ...] = ("anchor",)


@dataclass(frozen=True)
class Governed:
    """What is granted on: the name of every area's volume, and every role by the name of its group."""

    volumes: Mapping[Area, str]
    roles: Mapping[str, Role]

    @classmethod
    def of(cls, loader: FamilyConfigLoader) -> "Governed":
        """Return what an environment governs; ConfigError where its data lies on no volumes."""
        found = {area: volume.name for area, volume in volumes_of(loader).items() if area not in _OUTSIDE}
        if not found:
            raise ConfigError(
                f"Asked for a Databricks bundle of the environment {loader.env or 'local'!r}, whose root is no volume. "
                f"Name one with 'root: /Volumes/CATALOG/SCHEMA', for instance --env databricks."
            )
        prefix = loader.options("governance", GovernanceOptions).role_prefix
        return cls(found, {f"{prefix}{role.name}": role for role in roles_of(loader)})


def storage(governed: Governed) -> dict[str, dict[str, Schema | Volume | SecretScope]]:
    """Return schema, volumes and secret scope, by kind and name, as a user's own target has them."""
    return {
        "schemas": {KEY: _schema()},
        "volumes": {area: _volume(name, area) for area, name in governed.volumes.items()},
        "secret_scopes": {KEY: SecretScope(name=variable("secret_scope"))},
    }


def target_storage(governed: Governed, target: Target) -> dict[str, dict[str, dict[str, object]]]:
    """Return what a production target adds to ``storage``: rights, protection and where external volumes lie."""
    groups = {group: volume_rights(role) for group, role in governed.roles.items()}
    readers = [group for group, (read, _) in groups.items() if read & governed.volumes.keys()]
    users = [SchemaRight.from_dict({"principal": group, "privileges": ["USE_SCHEMA"]}) for group in readers]
    return {
        "schemas": {KEY: {**_PROTECTED, "grants": [right.as_dict() for right in users]}},
        "volumes": {
            area: {**_PROTECTED, **_place(name, target), "grants": [r.as_dict() for r in _rights(area, groups)]}
            for area, name in governed.volumes.items()
        },
        "secret_scopes": {
            KEY: {"permissions": [{"level": "READ", "service_principal_name": variable("service_principal")}]}
        },
    }


_PROTECTED = {"lifecycle": {"prevent_destroy": True}}


def _schema() -> Schema:
    return Schema(catalog_name=variable("catalog"), name=variable("schema"), comment="Data of al-platform")


def _volume(name: str, area: Area) -> Volume:
    return Volume(
        catalog_name=variable("catalog"),
        schema_name=SCHEMA,
        name=name,
        volume_type=VolumeType.MANAGED,
        comment=f"Data of the class {area}",
    )


def _place(name: str, target: Target) -> dict[str, object]:
    if not target.has_external_volumes:
        return {}
    return {"volume_type": "EXTERNAL", "storage_location": f"{variable('storage_root')}/{name}"}


def _rights(area: Area, groups: Mapping[str, tuple[frozenset[Area], frozenset[Area]]]) -> list[VolumeRight]:
    found = []
    for group, (read, write) in groups.items():
        privileges = [Privilege.READ_VOLUME] * (area in read) + [Privilege.WRITE_VOLUME] * (area in write)
        if privileges:
            found.append(VolumeRight(principal=group, privileges=[*privileges]))
    return found
