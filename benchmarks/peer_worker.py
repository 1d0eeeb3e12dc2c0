"""A process of the environment ``servers/peers.lock`` that chooses rows for us, asked through files."""

import json
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from servers.environments import environment

ROOT = Path(__file__).parent.parent


class PeerWorker:
    """Runs the cases of ``peer_cases`` on what it is given, one after another, on one thread."""

    def __init__(self) -> None:
        """Start the process; the environment is installed at the first use."""
        self._folder = tempfile.TemporaryDirectory()
        command = [environment("peers") / "bin" / "python", "-m", "benchmarks.peer_cases", "--serve", self._folder.name]
        one_thread = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=one_thread)

    def choose(
        self, case: str, probabilities: NDArray[np.float32], embeddings: NDArray[np.float32], size: int
    ) -> NDArray[np.int64]:
        """Return the rows that a peer's strategy chooses.

        Raises:
            RuntimeError: It failed; its own message is on the error stream.
        """
        for name, array in {"probabilities": probabilities, "embeddings": embeddings}.items():
            np.save(Path(self._folder.name) / f"{name}.npy", array)
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([case, size]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The peers' process ended with {self._process.wait()} in {case!r}.")
        rows: Any = json.loads(answer)
        return np.array(rows, dtype=np.int64)


@cache
def the_worker() -> PeerWorker:
    """Return the one of this process; it ends when its input does."""
    return PeerWorker()
