"""How a family uses Label Studio, and how the server is reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.errors import ConfigError


class LabelStudioOptions(BaseModel):
    """How pages are shown on Label Studio, and how they get there.

    Attributes:
        title: Of the projects; ``al-platform <family>`` where there is none.
        show_predictions: Whether annotators see the model's opinion: quicker, and it draws theirs towards it. Never of
            pages that measure something; see ``tasks.ANCHORED_IS_WRONG``.
        tree_separator: Stands between the levels in the names of labels that make up a tree, such as the slash in
            ``Sports/Football``; None for a flat list.
        chunk_pages: How many pages are sent in one request.
        timeout_s: How long one request may take. After a crash in the middle of one, the next push waits as long
            before it holds that request for lost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = Field(default=None, min_length=3, max_length=30)
    show_predictions: bool = False
    tree_separator: str | None = Field(default=None, min_length=1)
    chunk_pages: int = Field(default=100, ge=1, le=1000)
    timeout_s: float = Field(default=60, gt=0)


@dataclass(frozen=True)
class Access:
    """Where the server is, and who asks.

    Attributes:
        url: Of the server.
        token: A personal access token or a legacy token.
    """

    url: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, credentials: Mapping[str, str]) -> "Access":
        """Return what ``credentials.yml`` or the environment tell.

        Raises:
            ConfigError: Something is missing.
        """
        if missing := [name for name in ("url", "token") if not credentials.get(name)]:
            raise ConfigError(
                f"Label Studio's {' and '.join(missing)} are not known. Set AL_LABEL_STUDIO_URL and "
                f"AL_LABEL_STUDIO_TOKEN, or write url and token below label_studio in conf/local/credentials.yml."
            )
        return cls(credentials["url"].rstrip("/"), credentials["token"])
