"""The documents of an environment on S3, and what AWS would answer by them."""

from collections.abc import Mapping
from dataclasses import dataclass

from policy_evaluator import Request, is_allowed

from al_platform import families
from al_platform.config import FamilyConfigLoader
from al_platform.governance.documents import Governed, governed_s3
from al_platform.governance.options import GovernanceOptions
from al_platform.governance.s3 import role_policy
from al_platform.settings import CONFIG_LOADER_ARGS
from temporary_project import ROOT

S3_ROOT = "s3://data/production"
ANCHOR = "s3://anchor/production"


@dataclass(frozen=True)
class Account:
    """An account in which the documents are in force."""

    governed: Governed
    options: GovernanceOptions

    def allows(self, role: str, action: str, path: str, context: Mapping[str, str] | None = None) -> bool:
        """Whether ``role`` may do ``action`` at ``area/path``; creates pass ``s3:if-none-match``."""
        area, _, below = path.partition("/")
        place = self.governed.places[area]
        return self.answers(role, action, place.bucket, place.key(below), context)

    def answers(
        self, role: str, action: str, bucket: str, key: str | None, context: Mapping[str, str] | None = None
    ) -> bool:
        """Whether ``role`` may do ``action`` to an object, or to the bucket itself where ``key`` is None."""
        who = {"aws:PrincipalArn": f"arn:aws:iam::123456789012:role/al-platform-{role}", "aws:SecureTransport": "true"}
        found = next(found for found in self.governed.roles if found.name == role)
        resource = f"arn:aws:s3:::{bucket}" + ("" if key is None else f"/{key}")
        return is_allowed(
            Request(role, f"s3:{action}", resource, {**who, **(context or {})}),
            role_policy(found, self.governed.places, self.options),
            self.governed.buckets[bucket]["policy"],
        )

    def lists(self, role: str, action: str) -> bool:
        """Whether ``role`` may list something of the bucket that holds data."""
        return self.answers(role, action, self.governed.places["labels"].bucket, None)

    def creates(self, role: str, path: str) -> bool:
        """Whether ``role`` may create an object with ``If-None-Match: *``."""
        return self.allows(role, "PutObject", path, {"s3:if-none-match": "*"})


def s3_loader(env: str = "s3") -> FamilyConfigLoader:
    loader = FamilyConfigLoader(conf_source=str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    families.configure(loader.families)
    return loader


def account_on_s3() -> Account:
    loader = s3_loader()
    options = loader.options("governance", GovernanceOptions)
    return Account(governed_s3(loader, options), options)
