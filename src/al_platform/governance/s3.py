"""Grants as S3 understands them: a policy for every role, and the settings of every bucket."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from al_platform.domain.errors import ConfigError
from al_platform.governance.access import CHAMPION_LOG, ERASER, GATE, LOGS, SEALED, Area, Right, Role
from al_platform.governance.options import GovernanceOptions
from al_platform.storage.s3_store import bucket_and_prefix

Document: TypeAlias = dict[str, Any]

_OBJECT_ACTIONS: Mapping[Right, tuple[str, ...]] = {
    "read": ("s3:GetObject",),
    "write": ("s3:PutObject", "s3:AbortMultipartUpload"),
    "delete": ("s3:DeleteObject",),
    "erase": ("s3:DeleteObjectVersion", "s3:GetObjectVersion"),
    "clean": ("s3:AbortMultipartUpload",),
}
_SIDS: Mapping[Right, str] = {
    "read": "Read",
    "write": "Write",
    "delete": "Delete",
    "erase": "EraseVersions",
    "clean": "GiveUpUploads",
}
_DELETE = ("s3:DeleteObject", "s3:DeleteObjectVersion")


@dataclass(frozen=True, order=True)
class Place:
    """A prefix of a bucket."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, root: str) -> "Place":
        """Return the place of ``s3://bucket/prefix``; ConfigError if it is no such URL."""
        if not root.startswith("s3://"):
            raise ConfigError(
                f"Asked for S3 documents, but {root!r} is not on S3. Put every class of data on S3, or every one on "
                f"Unity Catalog volumes."
            )
        return cls(*bucket_and_prefix(root))

    def key(self, pattern: str) -> str:
        """Return the key that ``pattern`` below this place stands for."""
        return f"{self.prefix}/{pattern}".lstrip("/")

    def arn(self, pattern: str) -> str:
        """Return the resource that ``pattern`` below this place stands for."""
        return f"{_bucket_arn(self.bucket)}/{self.key(pattern)}"


Places: TypeAlias = Mapping[Area, Place]


def role_policy(role: Role, places: Places, options: GovernanceOptions) -> Document:
    """Return the IAM policy of a role: what it may do to objects, and which names it may list."""
    objects = [_object_statement(role, right, places) for right in _OBJECT_ACTIONS]
    buckets = sorted({places[area].bucket for area in role.areas() if area in places})
    found = [statement for statement in objects if statement["Resource"]]
    return _policy([*found, _list_statement(role, buckets), *_key_statements(options)])


def bucket_documents(places: Places, root: Place, options: GovernanceOptions) -> dict[str, dict[str, Document]]:
    """Return the settings of every bucket that holds data: documents by setting, by bucket.

    Args:
        places: Where every area lies, without the anchor.
        root: Where the environment's root lies.
        options: Keys and times.
    """
    documents = {}
    for bucket in sorted({place.bucket for place in places.values()}):
        inside = {area: place for area, place in places.items() if place.bucket == bucket}
        documents[bucket] = {
            "policy": bucket_policy(bucket, inside, options),
            "versioning": {"Status": "Enabled"},
            "encryption": _encryption(options),
            "lifecycle": _lifecycle(inside, root, options),
            "public-access-block": _NO_PUBLIC_ACCESS,
        }
    return documents


def anchor_documents(anchor: Place, options: GovernanceOptions) -> dict[str, Document]:
    """Return the settings of the bucket that holds the audit log's head. It must be made with object lock."""
    anchors = [anchor.arn("anchors/*")]
    statements = [
        _tls_only(anchor.bucket),
        _never_deleted("Anchors", anchors),
        _deny("AnchorsAreNeverReplaced", ["s3:PutObject"], anchors, _UNCONDITIONAL),
    ]
    retention = {"Mode": "COMPLIANCE", "Days": options.anchor_retention_days}
    return {
        "policy": _for_server(statements, options),
        "versioning": {"Status": "Enabled"},
        "encryption": _encryption(options),
        "object-lock": {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}},
        "public-access-block": _NO_PUBLIC_ACCESS,
    }


def bucket_policy(bucket: str, places: Places, options: GovernanceOptions) -> Document:
    """Return the bucket's policy: what nobody may do, whatever their own policy says."""
    logs, sealed, champion = (_resources(paths, places) for paths in (LOGS, SEALED, CHAMPION_LOG))
    everything = sorted(place.arn("*") for place in places.values())
    not_the_eraser = _unless(ERASER, options)
    statements = [
        _tls_only(bucket),
        _never_deleted("LogEntries", logs),
        _deny("LogEntriesAreNeverReplaced", ["s3:PutObject"], logs, _UNCONDITIONAL),
        _deny("SealedIsNeverDeleted", _DELETE, sealed, not_the_eraser),
        _deny("SealedIsNeverReplaced", ["s3:PutObject"], sealed, {**_UNCONDITIONAL, **not_the_eraser}),
        _deny("OnlyTheGatePromotes", ["s3:PutObject"], champion, _unless(GATE, options)),
        _deny("OnlyTheEraserErases", ["s3:DeleteObjectVersion"], everything, not_the_eraser),
    ]
    return _for_server([statement for statement in statements if statement["Resource"]], options)


def _for_server(statements: Sequence[Document], options: GovernanceOptions) -> Document:
    # SeaweedFS has no value for the keys of our conditions: such a statement would deny everything.
    kept = [found for found in statements if options.server == "aws" or "Condition" not in found]
    return _policy(kept)


def _object_statement(role: Role, right: Right, places: Places) -> Document:
    grants = [grant for grant in role.grants if grant.right == right and grant.area in places]
    resources = sorted(places[grant.area].arn(grant.pattern) for grant in grants)
    return {"Sid": _SIDS[right], "Effect": "Allow", "Action": list(_OBJECT_ACTIONS[right]), "Resource": resources}


def _list_statement(role: Role, buckets: Sequence[str]) -> Document:
    # Whole buckets: S3 answers 404, and not 403, for a key that is not there only to those who may list the bucket, and
    # the store must tell the two apart. Keys hold names of families, cycles, stages and runs, and digests; no page.
    versions = ["s3:ListBucketVersions"] if role.areas("erase") else []
    uploads = ["s3:ListBucketMultipartUploads"] if role.areas("clean") else []
    resources = [_bucket_arn(bucket) for bucket in buckets]
    return {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket", *versions, *uploads], "Resource": resources}


def _key_statements(options: GovernanceOptions) -> list[Document]:
    if options.kms_key is None:
        return []
    actions = ["kms:Decrypt", "kms:GenerateDataKey"]
    return [{"Sid": "UseKey", "Effect": "Allow", "Action": actions, "Resource": [options.kms_key]}]


_UNCONDITIONAL = {"Null": {"s3:if-none-match": "true"}}


def _unless(role: str, options: GovernanceOptions) -> Document:
    # Any account: this only lifts a denial, and nobody outside the bucket's account is allowed anything to begin with.
    names = [f"arn:aws:iam::*:{kind}/{options.role_prefix}{role}" for kind in ("role", "user")]
    return {"ArnNotLike": {"aws:PrincipalArn": names}}


def _tls_only(bucket: str) -> Document:
    resources = [_bucket_arn(bucket), f"{_bucket_arn(bucket)}/*"]
    return _deny("TlsOnly", ["s3:*"], resources, {"Bool": {"aws:SecureTransport": "false"}})


def _never_deleted(what: str, resources: Sequence[str]) -> Document:
    return _deny(f"{what}AreNeverDeleted", _DELETE, resources)


def _deny(sid: str, actions: Iterable[str], resources: Iterable[str], condition: Document | None = None) -> Document:
    statement = {
        "Sid": f"AlPlatform{sid}",
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(actions),
        "Resource": list(resources),
    }
    return {**statement, "Condition": condition} if condition else statement


def _resources(paths: Iterable[tuple[Area, str]], places: Places) -> list[str]:
    return sorted(places[area].arn(pattern) for area, pattern in paths if area in places)


def _policy(statements: Sequence[Document]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _bucket_arn(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}"


_NO_PUBLIC_ACCESS: Document = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def _encryption(options: GovernanceOptions) -> Document:
    algorithm: Document = {"SSEAlgorithm": "AES256"}
    if options.kms_key:
        algorithm = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": options.kms_key}
    rule = {"ApplyServerSideEncryptionByDefault": algorithm, "BucketKeyEnabled": options.kms_key is not None}
    return {"Rules": [rule]}


def _lifecycle(places: Places, root: Place, options: GovernanceOptions) -> Document:
    tops = _tops([*places.values(), *([root] if any(root.bucket == place.bucket for place in places.values()) else [])])
    rules = [rule for number, prefix in enumerate(tops, start=1) for rule in _expiry(prefix, number, options)]
    if "experiments" in places:
        expiration = {"Days": options.experiments_days}
        rules.append(_rule("experiments", places["experiments"].key(""), Expiration=expiration))
    return {"Rules": rules}


def _expiry(prefix: str, number: int, options: GovernanceOptions) -> list[Document]:
    uploads = {"DaysAfterInitiation": options.abort_uploads_after_days}
    old = {"NoncurrentDays": options.old_versions_days}
    return [
        _rule(f"unfinished-uploads-{number}", prefix, AbortIncompleteMultipartUpload=uploads),
        _rule(
            f"old-versions-{number}",
            prefix,
            NoncurrentVersionExpiration=old,
            Expiration={"ExpiredObjectDeleteMarker": True},
        ),
    ]


def _rule(name: str, prefix: str, **what: Document) -> Document:
    return {"ID": f"al-platform-{name}", "Status": "Enabled", "Filter": {"Prefix": prefix}, **what}


def _tops(places: Iterable[Place]) -> list[str]:
    """Return the prefixes that lie below no other, with a slash at their end."""
    prefixes = sorted({place.key("") for place in places})
    return [one for one in prefixes if not any(one != other and one.startswith(other) for other in prefixes)]
