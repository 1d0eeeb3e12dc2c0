"""What a user may set about tracking."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Backend = Literal["wandb", "mlflow", "none"]


class TrackingOptions(BaseModel):
    """The content of ``tracking.yml``.

    Attributes:
        backend: ``wandb``, ``mlflow`` (the extra of that name) or ``none``.
        mode: ``offline``: nothing is sent before ``kedro al sync``. ``online``: curves while a training runs, and what
            a run committed when it ends.
        project: Of W&B; the experiment of MLflow.
        entity: Team or user of W&B; None for the account's own.
        server: Address of a W&B server, None for the one that W&B itself would take; or MLflow's tracking URI, None for
            a SQLite file in the project.
        log_page_text: Whether tables may show pages: ids, titles, texts cut short. A privacy erasure does not reach a
            tracker.
        lineage: Whether W&B's server is told which artifacts a run read; false for one that knows no artifacts.
        timeout_s: How long the tracker may take for the runs of one stage before they are kept for later.
        after_run_s: How long a run waits, when online, for what it committed to be sent; what is left waits for
            ``kedro al sync``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Backend = "wandb"
    mode: Literal["offline", "online"] = "offline"
    project: str = Field(default="al-platform", min_length=1)
    entity: str | None = None
    server: str | None = None
    log_page_text: bool = False
    lineage: bool = True
    timeout_s: float = Field(default=120, gt=0)
    after_run_s: float = Field(default=60, ge=0)
