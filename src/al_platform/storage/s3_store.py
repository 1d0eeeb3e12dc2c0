"""A store below a prefix of an S3 bucket, of AWS or of anything that speaks its protocol.

Who asks, and where, is boto3's own configuration: environment, profile, instance role; ``AWS_ENDPOINT_URL`` names
another server than AWS. No key passes through our configuration.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.storage.erasures import FormerVersion
from al_platform.storage.scratch import once, scratch_folder
from al_platform.storage.store import Leftover

_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
_DENIED = frozenset({"403", "AccessDenied", "Forbidden"})
_TAKEN = "PreconditionFailed"
_RACING = "ConditionalRequestConflict"  # two conditional writes at once: AWS asks the caller to try again
_RACES = 5
_PAUSE_S = 0.05
_LARGE = 64 << 20  # bytes: from here on in parts
_ATTEMPTS = 5


class S3Store:
    """A store below ``s3://bucket/prefix``.

    A single PUT, and the completion of a multipart upload, put a whole object or none; ``create`` is a PUT with
    ``If-None-Match: *``. Objects are sent with their SHA-256, which the server compares.
    """

    def __init__(self, root: str, client: Any = None):
        """Open the store; nothing is asked of the server yet.

        Args:
            root: ``s3://bucket`` or ``s3://bucket/prefix``.
            client: A boto3 client; by default one from the environment's configuration.

        Raises:
            ConfigError: The root names no bucket, or holds credentials.
        """
        self._bucket, self._prefix = bucket_and_prefix(root)
        self.root = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        self._given_client = client

    def read(self, path: str) -> bytes:
        with self._asking("read", path, "s3:GetObject"):
            data: bytes = self._client.get_object(**self._at(path))["Body"].read()
            return data

    def exists(self, path: str) -> bool:
        try:
            with self._asking("look for", path, "s3:GetObject"):
                self._client.head_object(**self._at(path))
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        folder = self._key(prefix)
        with self._asking("list", prefix, "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{folder}/" if folder else ""
            )
            keys = (found["Key"] for page in pages for found in page.get("Contents", []))
            # A key that ends in a slash is a folder that somebody made in a console.
            return sorted(self._path(key) for key in keys if not key.endswith("/"))

    def write(self, path: str, data: bytes) -> None:
        with self._asking("write", path, "s3:PutObject"):
            self._client.put_object(**self._at(path), Body=data, ChecksumAlgorithm="SHA256")
        self._forget_copy(path)

    def create(self, path: str, data: bytes) -> None:
        with self._asking("create", path, "s3:PutObject"):
            for race in range(1, _RACES + 1):
                if self._is_created(path, data):
                    self._require_conditional_writes(path, data)
                    return
                time.sleep(_PAUSE_S * race)
        raise StoreError(f"{_RACES} times another writer was at {self.root}/{path} at the same moment. Run again.")

    def upload(self, source: Path, path: str) -> None:
        from boto3.s3.transfer import TransferConfig

        with self._asking("upload", path, "s3:PutObject"):
            self._client.upload_file(
                str(source),
                self._bucket,
                self._key(path),
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                Config=TransferConfig(multipart_threshold=_LARGE, multipart_chunksize=_LARGE),
            )
        self._keep_copy(source, path)

    def local(self, path: str) -> Path:
        if path in self._copies:
            return self._copies[path]
        below = self.list(path)
        for found in below or ([path] if self.exists(path) else []):
            self._download(found)
        return self._copy_path(path)

    def remove(self, prefix: str) -> None:
        paths = self.list(prefix)
        with self._asking("remove", prefix, "s3:DeleteObject"):
            self._delete([{"Key": self._key(path)} for path in paths])
        for path in paths:
            self._forget_copy(path)

    def former_versions(self) -> Sequence[FormerVersion]:
        """Return every version but the present ones, those of removed objects too; a marker of a removal is none."""
        with self._asking("list old versions of", "", "s3:ListBucketVersions"):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}/" if self._prefix else ""
            )
            found = [version for page in pages for version in page.get("Versions", []) if not version["IsLatest"]]
        return [FormerVersion(self._path(version["Key"]), version["VersionId"]) for version in found]

    def read_version(self, former: FormerVersion) -> bytes:
        """Return the bytes of a version; FileNotFoundError if it is gone."""
        with self._asking("read an old version of", former.path, "s3:GetObjectVersion"):
            reply = self._client.get_object(**self._at(former.path), VersionId=former.version)
            data: bytes = reply["Body"].read()
            return data

    def erase_versions(self, former: Sequence[FormerVersion]) -> None:
        """Remove versions for good.

        Raises:
            StoreError: The right to do so is missing, or one is under a retention lock; all others are gone then.
        """
        refused = []
        for each in former:
            try:
                with (
                    suppress(FileNotFoundError),
                    self._asking("erase an old version of", each.path, "s3:DeleteObjectVersion"),
                ):
                    self._client.delete_object(**self._at(each.path), VersionId=each.version)
            except StoreError as error:
                refused.append(error)
        if refused:
            raise StoreError(
                f"{len(refused)} of {len(former)} old versions stay in {self.root}, of which the first: {refused[0]} "
                f"Under an object lock they stay until it ends. Erase again then."
            ) from refused[0]

    def leftovers(self) -> Sequence[Leftover]:
        """Return the uploads in parts that were begun and neither completed nor given up."""
        return [
            Leftover(
                path=self._path(upload["Key"]),
                detail=f"unfinished upload {upload['UploadId']}",
                size=0,
                age=datetime.now(UTC) - upload["Initiated"],
            )
            for upload in self._unfinished()
        ]

    def remove_leftovers(self, older_than: timedelta) -> None:
        """Give up every unfinished upload that was begun at least so long ago."""
        now = datetime.now(UTC)
        for upload in self._unfinished():
            if now - upload["Initiated"] >= older_than:
                self._give_up(upload)

    @property
    def _client(self) -> Any:
        return self._given_client or _client(tuple(sorted(_aws_settings().items())))

    @property
    def _copies(self) -> dict[str, Path]:
        return _known_copies(self.root, self._client)

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}".strip("/")

    def _path(self, key: str) -> str:
        return key[len(self._prefix) :].lstrip("/")

    def _at(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._key(path)}

    def _is_created(self, path: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(**self._at(path), Body=data, ChecksumAlgorithm="SHA256", IfNoneMatch="*")
        except ClientError as error:
            if _code(error) == _TAKEN:
                raise FileExistsError(f"{self.root}/{path}") from error
            if _code(error) != _RACING:
                raise
            return False
        return True

    def _require_conditional_writes(self, path: str, data: bytes) -> None:
        """Try once a process and bucket whether the server refuses a second creation, as commits rely on."""
        if (self._client, self._bucket) in _proven:
            return
        try:
            is_created_again = self._is_created(path, data)
        except FileExistsError:
            is_created_again = False
        if is_created_again:
            raise StoreError(
                f"The server of {self.root} ignores If-None-Match: two writers of one log entry would both win. "
                f"Give a root on a server with conditional writes."
            )
        _proven.add((self._client, self._bucket))

    def _download(self, path: str) -> None:
        if path in self._copies:
            return
        target = self._copy_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A reader of the same process must never meet half a copy, not even beside a whole one in a folder.
        partial = _copies(self._client) / uuid4().hex
        with self._asking("read", path, "s3:GetObject"):
            self._client.download_file(self._bucket, self._key(path), str(partial))
        partial.replace(target)
        self._copies[path] = target

    def _keep_copy(self, source: Path, path: str) -> None:
        target = self._copy_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._forget_copy(path)
        # What was just written is what is read next; another file system than the copies' is no reason to fail.
        with suppress(OSError):
            os.link(source, target)
            self._copies[path] = target

    def _forget_copy(self, path: str) -> None:
        if copy := self._copies.pop(path, None):
            copy.unlink(missing_ok=True)

    def _copy_path(self, path: str) -> Path:
        return _copies(self._client) / self._bucket / self._key(path)

    def _delete(self, objects: Sequence[dict[str, str]]) -> None:
        for start in range(0, len(objects), 1000):
            batch = {"Objects": objects[start : start + 1000], "Quiet": True}
            done = self._client.delete_objects(Bucket=self._bucket, Delete=batch)
            for problem in done.get("Errors", []):
                raise StoreError(
                    f"{self.root} refused to remove {problem['Key']}: {problem.get('Code')} {problem.get('Message')}."
                )

    def _give_up(self, upload: Mapping[str, Any]) -> None:
        from botocore.exceptions import ClientError

        with self._asking("give up an upload of", self._path(upload["Key"]), "s3:AbortMultipartUpload"):
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            except ClientError as error:
                # Its writer, or another doctor, was quicker.
                if _code(error) != "NoSuchUpload":
                    raise

    def _unfinished(self) -> Sequence[dict[str, Any]]:
        with self._asking("list unfinished uploads of", "", "s3:ListBucketMultipartUploads"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}/" if self._prefix else ""
            )
            return [upload for page in pages for upload in page.get("Uploads", [])]

    @contextmanager
    def _asking(self, verb: str, path: str, right: str) -> Iterator[None]:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.root}/{path}".rstrip("/")
        try:
            yield
        except ClientError as error:
            raise self._understood(error, verb, where, right) from error
        except S3UploadFailedError as error:
            cause = error.__context__
            if isinstance(cause, ClientError):
                raise self._understood(cause, verb, where, right) from error
            raise StoreError(f"Asked to {verb} {where}: {error}.") from error
        except BotoCoreError as error:
            raise StoreError(f"Asked to {verb} {where}: {error}. {_ADVICE}") from error

    def _understood(self, error: Any, verb: str, where: str, right: str) -> Exception:
        code = _code(error)
        if code in _MISSING:
            return FileNotFoundError(where)
        if code in _DENIED:
            return StoreError(f"Asked to {verb} {where}, which is denied: these credentials need {right} there.")
        if code == "NoSuchBucket":
            return StoreError(
                f"Asked to {verb} {where}: there is no bucket {self._bucket!r}. Make it, or correct root."
            )
        return StoreError(f"Asked to {verb} {where}: the server answered {code}, {_message(error)}. {_ADVICE}")


_ADVICE = "Check AWS_ENDPOINT_URL, AWS_REGION and the credentials; what was committed before is as it was. Run again."


_proven: set[tuple[Any, str]] = set()
"""Buckets whose server has been seen to refuse a second creation."""


def bucket_and_prefix(root: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``.

    Raises:
        ConfigError: There is no bucket, or there are credentials in it.
    """
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    if "@" in root or ":" in bucket:
        raise ConfigError("The S3 root holds credentials. Give s3://bucket/prefix, and the keys in the environment.")
    if not bucket:
        raise ConfigError(f"The S3 root {root!r} names no bucket. Give s3://bucket/prefix.")
    return bucket, prefix.strip("/")


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _message(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Message", "no message")).rstrip(".")


def _aws_settings() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@once
def _client(settings: tuple[tuple[str, str], ...]) -> Any:
    """Return the client of these settings: all stores share it, being slow to make and safe between threads."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise ConfigError("An s3:// root needs boto3: pip install 'al-platform[s3]'.") from error
    config = Config(retries={"mode": "standard", "max_attempts": _ATTEMPTS}, signature_version="s3v4")
    # The default session keeps the credentials that it found first.
    return boto3.Session().client("s3", config=config)


@once
def _known_copies(root: str, client: Any) -> dict[str, Path]:
    # Shared by all stores of a root: each dataset opens its own, and none should fetch what another one has.
    return {}


@once
def _copies(client: Any) -> Path:
    return scratch_folder("s3")
