"""Power of the duel beside plain audit pages: ``python benchmarks/duel.py`` (QUICK=1: fewer repetitions).

Traffic is drawn page by page from the probabilities that the challenger alone, the champion alone, or neither of two
disagreeing models is right; draw and decision are the package's own.
"""

import os

import numpy as np
import scipy
from numpy.typing import NDArray

from al_platform.domain.duel import decide_duel, draw_duel
from al_platform.domain.estimators import wilson
from al_platform.domain.taxonomy import Taxonomy

TAXONOMY = Taxonomy(task="single", labels=("a", "b", "c"))
FRAME = 5_000
ALPHA = 0.02
TIES = 0.15  # of the disagreements: both are wrong
REPETITIONS = 200 if os.environ.get("QUICK") else 2_000
BOTH, NEITHER, CHALLENGER, CHAMPION = range(4)
# The truth is always "a".
SAYS = np.eye(3, dtype=bool)
CHAMPION_SAYS = SAYS[[0, 1, 1, 0]]
CHALLENGER_SAYS = SAYS[[0, 2, 0, 1]]


def traffic(generator: np.random.Generator, pages: int, gain: float, disagreement: float) -> NDArray[np.int64]:
    """Return who is right on each page; ``NEITHER`` is said of disagreements only."""
    decided = disagreement * (1 - TIES)
    shares = [1 - disagreement, disagreement * TIES, (decided + gain) / 2, (decided - gain) / 2]
    return generator.choice(4, size=pages, p=shares)


def duel_is_won(kinds: NDArray[np.int64], labels: int, repetition: int, unanswered: float) -> tuple[bool, bool]:
    """Return whether the challenger wins the duel, and whether the bounds hold the frame's true difference."""
    page_ids = [f"page {row}" for row in range(len(kinds))]
    decisions = CHAMPION_SAYS[kinds], CHALLENGER_SAYS[kinds]
    duel = draw_duel(page_ids, *decisions, TAXONOMY, size=labels, salt=f"{repetition}")
    answered = duel.pages["page_id"].to_pylist()[round(labels * unanswered) :]
    verdict = decide_duel(duel, {page: ["a"] for page in answered}, TAXONOMY, alpha=ALPHA)
    truth = float(np.mean((kinds == CHALLENGER).astype(int) - (kinds == CHAMPION)))
    return verdict.winner == "challenger", verdict.lower <= truth <= verdict.upper


def audit_is_won(kinds: NDArray[np.int64]) -> bool:
    """Return whether the same test on plain random pages finds the challenger better."""
    wins, losses = int((kinds == CHALLENGER).sum()), int((kinds == CHAMPION).sum())
    return bool(wins and scipy.special.bdtrc(wins - 1, wins + losses, 0.5) <= ALPHA)


def audit_pages_for(power: float, gain: float, disagreement: float) -> int:
    """Return how many plain pages have this power; normal approximation of McNemar's test (Miettinen 1968)."""
    decided = disagreement * (1 - TIES)
    z_alpha, z_beta = scipy.special.ndtri(1 - ALPHA), scipy.special.ndtri(min(power, 0.999))
    return round((z_alpha * decided**0.5 + z_beta * (decided - gain**2) ** 0.5) ** 2 / gain**2)


def row(gain: float, disagreement: float, labels: int, unanswered: float = 0.0) -> str:
    """Return a line of the table."""
    generator = np.random.default_rng(0)
    duels, audits = [], []
    for repetition in range(REPETITIONS):
        duels.append(duel_is_won(traffic(generator, FRAME, gain, disagreement), labels, repetition, unanswered))
        audits.append(audit_is_won(traffic(generator, labels, gain, disagreement)))
    won, held = np.mean(duels, axis=0)
    low, high = wilson(int(sum(found[0] for found in duels)), REPETITIONS)
    same = f"{audit_pages_for(won, gain, disagreement):,}" if gain else "-"
    return (
        f"| {gain:+.0%} | {disagreement:.0%} | {labels} | {unanswered:.0%} | {won:.3f} [{low:.3f}, {high:.3f}] "
        f"| {np.mean(audits):.3f} | {same} | {held:.3f} |"
    )


def main() -> None:
    """Print the table."""
    print(f"{REPETITIONS} duels a line, frame of {FRAME} pages, alpha {ALPHA}, both wrong in {TIES:.0%}")
    print("| gain | disagree | labels | no answer | duel wins [95 %] | as many audit pages | like | bounds hold |")
    print("|---|---|---|---|---|---|---|---|")
    for gain in (0.0, 0.02, 0.03):
        for disagreement in (0.08, 0.12, 0.2):
            for labels in (100, 200):
                print(row(gain, disagreement, labels), flush=True)
    print(row(0.03, 0.12, 100, unanswered=0.1))
    print(row(0.03, 0.12, 200, unanswered=0.1))


if __name__ == "__main__":
    main()
