"""Bucket settings put in force through S3's API; what is in force already is left alone."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from al_platform.domain.errors import StoreError
from al_platform.governance.options import GovernanceOptions
from al_platform.governance.s3 import Document

_OWN = ("AlPlatform", "al-platform-")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_UNSUPPORTED = ("NotImplemented", "MethodNotAllowed")
_RULES = {"policy": "Statement", "lifecycle": "Rules"}
_UNSET = (
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "ObjectLockConfigurationNotFoundError",
)


Outcome = Literal["set", "already set", "not supported by this server"]


@dataclass(frozen=True)
class Applied:
    """What became of one setting of a bucket."""

    bucket: str
    setting: str
    outcome: Outcome


@dataclass(frozen=True)
class _Setting:
    """How a setting is read and written: method names of boto3's client after get_ and put_, and its argument."""

    method: str
    argument: str

    def read(self, client: Any, bucket: str) -> Any:
        answer = getattr(client, f"get_{self.method}")(Bucket=bucket)
        answer.pop("ResponseMetadata", None)
        value = answer.get(self.argument, answer)
        return json.loads(value) if isinstance(value, str) and self.argument == "Policy" else value

    def write(self, client: Any, bucket: str, document: Document) -> None:
        value = json.dumps(document) if self.argument == "Policy" else document
        getattr(client, f"put_{self.method}")(Bucket=bucket, **{self.argument: value})


# The policy comes last: it may take rights away that the others need.
_SETTINGS: Mapping[str, _Setting] = {
    "versioning": _Setting("bucket_versioning", "VersioningConfiguration"),
    "encryption": _Setting("bucket_encryption", "ServerSideEncryptionConfiguration"),
    "lifecycle": _Setting("bucket_lifecycle_configuration", "LifecycleConfiguration"),
    "object-lock": _Setting("object_lock_configuration", "ObjectLockConfiguration"),
    "public-access-block": _Setting("public_access_block", "PublicAccessBlockConfiguration"),
    "policy": _Setting("bucket_policy", "Policy"),
}


def for_endpoint(options: GovernanceOptions, endpoint: str) -> GovernanceOptions:
    """Return the options for a server: one on this machine is taken to be SeaweedFS, without TLS."""
    is_here = urlsplit(endpoint).hostname in _LOOPBACK
    return options.model_copy(update={"server": "seaweedfs"}) if is_here else options


def apply_settings(client: Any, buckets: Mapping[str, Mapping[str, Document]]) -> Iterator[Applied]:
    """Put the settings of every bucket in force, and yield what became of each.

    Raises:
        StoreError: A bucket is missing, a right is missing, or a policy or lifecycle of somebody else's is in force.
    """
    for bucket, documents in buckets.items():
        for name, setting in _SETTINGS.items():
            if name in documents:
                yield Applied(bucket, name, _apply(client, bucket, name, setting, documents[name]))


def _apply(client: Any, bucket: str, name: str, setting: _Setting, wanted: Document) -> Outcome:
    try:
        found = _found(client, bucket, setting)
        if _holds(found, wanted, is_exact=name == "policy"):
            return "already set"
        _require_ours(bucket, name, found)
        setting.write(client, bucket, wanted)
    except ClientError as error:
        if _code(error) in _UNSUPPORTED:
            return "not supported by this server"
        raise StoreError(
            f"Asked to set {name} of bucket {bucket!r}: {error}. Make the bucket first (the anchor's with object "
            f"lock), and use credentials of the bucket's owner."
        ) from error
    return "set"


def _found(client: Any, bucket: str, setting: _Setting) -> Any:
    try:
        return setting.read(client, bucket)
    except ClientError as error:
        if _code(error) in _UNSET:
            return {}
        raise


def _require_ours(bucket: str, name: str, found: Any) -> None:
    rules = found.get(_RULES[name], []) if name in _RULES else []
    names = [str(rule.get("Sid") or rule.get("ID") or "one without a name") for rule in _list(rules)]
    if foreign := sorted(name for name in names if not name.startswith(_OWN)):
        raise StoreError(
            f"Asked to set the {name} of bucket {bucket!r}, which would replace what others have set there: "
            f"{', '.join(foreign)}. Use a bucket of its own, or merge the generated file by hand."
        )


def _holds(found: Any, wanted: Any, is_exact: bool) -> bool:
    """Return whether ``found`` says what is wanted.

    Servers write one for a list of one, and reorder lists.

    Args:
        found: What is in force.
        wanted: What should be.
        is_exact: Whether keys in excess matter: in a policy they change its meaning, elsewhere they are defaults.
    """
    if isinstance(wanted, dict):
        fits = isinstance(found, dict) and (not is_exact or found.keys() == wanted.keys())
        return fits and all(_holds(found.get(key), value, is_exact) for key, value in wanted.items())
    if isinstance(wanted, list):
        others = _list(found)
        has_all = all(any(_holds(other, one, is_exact) for other in others) for one in wanted)
        return len(others) == len(wanted) and has_all
    return bool(found == wanted)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))
