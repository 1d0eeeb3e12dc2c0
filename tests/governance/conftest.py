from collections.abc import Iterator

import pytest
from aws_account import ANCHOR, S3_ROOT, Account, account_on_s3


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AL_S3_ROOT", S3_ROOT)
        patch.setenv("AL_AUDIT_ANCHOR", ANCHOR)
        yield account_on_s3()
