"""The process that talks to a tracker: ``python -m al_platform.tracking.child PROJECT OPTIONS [FOLDER]``.

Started by ``sender``, which ends it when its time is over. It takes an order a line on standard input and answers with
lines of JSON: ``sent`` for each run that arrived, ``found`` for each that was found, and last ``done`` or ``error``.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from al_platform.domain.errors import AlPlatformError
from al_platform.storage.redaction import redact
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.registry import open_tracker
from al_platform.tracking.tracked_run import TrackedRun
from al_platform.tracking.tracker import Tracker


def main(project: str, options: str, into: str | None = None) -> None:
    """Carry out orders until there are no more."""
    # What a tracker's library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    tracker = open_tracker(TrackingOptions.model_validate_json(options), Path(project), Path(into) if into else None)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            _carry_out(order, tracker, answers)
            _answer(answers, {"done": True})
        except AlPlatformError as error:
            _answer(answers, {"error": redact(str(error))})


def _carry_out(order: dict[str, Any], tracker: Tracker, answers: TextIO) -> None:
    match order["do"]:
        case "publish":
            for run_id in tracker.publish([TrackedRun.model_validate(run) for run in order["runs"]]):
                _answer(answers, {"sent": run_id})
        case "send_fit":
            tracker.send_fit(Path(order["file"]))
        case "find":
            for found in tracker.find(order["filters"]):
                _answer(answers, {"found": vars(found)})


def _answer(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(f"{json.dumps(content, default=str)}\n")
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
