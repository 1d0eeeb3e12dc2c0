import numpy as np

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.fit import LabelledTexts
from al_platform.models.options import FitOptions, NgramOptions

WORDS = {
    "food": ["apple", "bread", "cheese", "soup"],
    "cars": ["engine", "wheel", "road", "diesel"],
    "sea": ["ship", "sail", "harbour", "wave"],
}
FILLER = ["the", "of", "today", "with", "near"]
SINGLE = Taxonomy(task="single", labels=tuple(WORDS))
MULTI = Taxonomy(task="multi", labels=tuple(WORDS))
SMALL = NgramOptions(n_features=2**12, embedding_dim=32)
QUICK = FitOptions(max_epochs=6, min_epochs=2, patience=2, batch_size=16)


def sentence(rng: np.random.Generator, labels: list[str]) -> str:
    known = [word for label in labels for word in rng.choice(WORDS[label], 2)]
    return " ".join([*known, *rng.choice(FILLER, 5)])


def single_texts(n: int, seed: int) -> LabelledTexts:
    rng = np.random.default_rng(seed)
    values = [[str(label)] for label in rng.choice(list(WORDS), n)]
    return LabelledTexts([sentence(rng, labels) for labels in values], values)


def multi_texts(n: int, seed: int) -> LabelledTexts:
    rng = np.random.default_rng(seed)
    values = [[label for label in WORDS if rng.random() < 0.3] for _ in range(n)]
    return LabelledTexts([sentence(rng, labels) for labels in values], values)
