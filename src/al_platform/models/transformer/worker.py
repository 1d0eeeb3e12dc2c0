"""The process of one device: ``python -m al_platform.models.transformer.worker FOLDER PARENT``.

Started by ``workers``; the rank comes from the environment, as Lightning reads it.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

PARENT_POLL_S = 1.0


def main(folder: Path, parent: int) -> int:
    """Do this device's part of the job in ``folder``; end when the process ``parent`` does."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from al_platform.domain.errors import AlPlatformError
    from al_platform.models.transformer.job import Job
    from al_platform.models.transformer.metrics_file import MetricsFile
    from al_platform.models.transformer.train import train_here
    from al_platform.models.transformer.workers import MEETING, METRICS, write_error, write_result

    is_first = os.environ["LOCAL_RANK"] == "0"
    try:
        job, n_devices = Job.load(folder), int(os.environ["WORLD_SIZE"])
        logger = MetricsFile(folder / METRICS if is_first else None)
        trained = train_here(job, lambda _: None, n_devices=n_devices, meeting=folder / MEETING, logger=logger)
    except AlPlatformError as error:
        write_error(error, folder)
        return 1
    if is_first:
        write_result(trained, folder)
    return 0


def _end_with(parent: int) -> None:
    # A parent that was killed cannot stop its workers, and they would train on without anybody to take the result.
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
