"""Every governance file of an environment: what ``kedro al governance`` writes, checks and applies."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import CatalogConfigResolver

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError
from al_platform.governance.access import CLASSES, Area, Role, derive_roles
from al_platform.governance.options import GovernanceOptions
from al_platform.governance.s3 import Document, Place, anchor_documents, bucket_documents, role_policy
from al_platform.governance.unity_catalog import Volume, grants_sql
from al_platform.stages import DataClass
from al_platform.storage.store import VOLUMES, is_local

_SQL = "unity_catalog.sql"
_NOT_IN_CATALOG = {"{default}": {"type": "kedro.io.MemoryDataset"}}


@dataclass(frozen=True)
class Governed:
    """An environment on S3: its roles, where its data lies, and the settings of every bucket.

    Attributes:
        roles: See ``access.derive_roles``.
        places: Where every area lies, the anchor among them if there is one.
        buckets: Documents by setting, by bucket.
        anchor: Bucket of the anchor, None without one; its documents are among ``buckets``.
    """

    roles: tuple[Role, ...]
    places: Mapping[Area, Place]
    buckets: Mapping[str, Mapping[str, Document]]
    anchor: str | None


def roles_of(loader: FamilyConfigLoader) -> tuple[Role, ...]:
    """Return every role of an environment, derived from its catalog and the registered pipelines."""
    catalog = CatalogConfigResolver(loader["catalog"], loader["credentials"], default_runtime_patterns=_NOT_IN_CATALOG)
    return derive_roles(loader.families, catalog.resolve_pattern, _class_at(loader))


def volumes_of(loader: FamilyConfigLoader) -> dict[Area, Volume]:
    """Return the Unity Catalog volume of every area that lies on one."""
    return {area: Volume.of(found) for area, found in _roots(loader).items() if found.startswith(VOLUMES)}


def governed_s3(loader: FamilyConfigLoader, options: GovernanceOptions) -> Governed:
    """Return the documents of an environment whose data lies on S3.

    Raises:
        ConfigError: Some of it lies elsewhere, or data and anchor share a bucket.
    """
    places = {area: Place.of(root) for area, root in _roots(loader).items()}
    data: dict[Area, Place] = {area: place for area, place in places.items() if area != "anchor"}
    buckets = bucket_documents(data, Place.of(_root(loader)), options)
    anchor = places.get("anchor")
    if anchor and anchor.bucket in buckets:
        raise ConfigError(
            f"audit_anchor is in bucket {anchor.bucket!r}, which holds data too. Give it a bucket of its own, made "
            f"with object lock: whoever could rewrite the audit log must not reach its anchor."
        )
    if anchor:
        buckets[anchor.bucket] = anchor_documents(anchor, options)
    return Governed(roles_of(loader), places, buckets, anchor.bucket if anchor else None)


def documents(loader: FamilyConfigLoader, options: GovernanceOptions) -> dict[str, str]:
    """Return the content of every governance file by its path below ``governance/<env>``.

    Raises:
        ConfigError: The data lies on a local disk, or on S3 and volumes mixed.
    """
    root = _root(loader)
    if is_local(root):
        raise ConfigError(
            f"Asked for governance of the environment {loader.env or 'local'!r}, whose root is the local folder "
            f"{root!r}: there is nobody to grant rights to. Name one on S3 or Unity Catalog, for instance --env s3."
        )
    if root.startswith(VOLUMES):
        return {_SQL: grants_sql(roles_of(loader), volumes_of(loader), options)}
    return _s3_files(governed_s3(loader, options), options)


def different_files(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """Return the files below ``folder`` that are missing, differ from what is expected, or are there in excess."""
    found = {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def write_files(folder: Path, expected: Mapping[str, str]) -> None:
    """Write every file below ``folder``."""
    for name, content in expected.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def _s3_files(governed: Governed, options: GovernanceOptions) -> dict[str, str]:
    roles = {f"roles/{role.name}.json": _json(role_policy(role, governed.places, options)) for role in governed.roles}
    settings = {
        f"buckets/{bucket}/{setting}.json": _json(document)
        for bucket, found in governed.buckets.items()
        for setting, document in found.items()
    }
    return {**roles, **settings}


def _json(document: Document) -> str:
    return json.dumps(document, indent=2) + "\n"


def _root(loader: FamilyConfigLoader) -> str:
    return loader.validated_globals.root.rstrip("/")


def _roots(loader: FamilyConfigLoader) -> dict[Area, str]:
    roots: dict[Area, str] = {data_class: root for root, data_class in _class_at(loader).items()}
    roots["experiments"] = f"{_root(loader)}/experiments"
    return {**roots, "anchor": loader.audit_anchor} if loader.audit_anchor else roots


def _class_at(loader: FamilyConfigLoader) -> dict[str, DataClass]:
    found: dict[str, DataClass] = {}
    for data_class in CLASSES:
        root: Any = loader.root(data_class)
        if not isinstance(root, str):
            raise ConfigError("Asked for governance of an experiment. Leave out the parameter 'experiment'.")
        if root in found:
            raise ConfigError(f"{data_class} and {found[root]} lie both at {root}. Give each a root of its own.")
        found[root] = data_class
    return found
