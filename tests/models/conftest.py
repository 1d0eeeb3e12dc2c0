import pytest
from ngram_texts import MULTI, QUICK, SINGLE, SMALL, multi_texts, single_texts

from al_platform.models.fit import FitResult, fit_classifier


@pytest.fixture(scope="session")
def single_fit() -> FitResult:
    return fit_classifier(single_texts(120, 0), single_texts(60, 1), SINGLE, SMALL, QUICK, seed=0)


@pytest.fixture(scope="session")
def multi_fit() -> FitResult:
    return fit_classifier(multi_texts(120, 0), multi_texts(60, 1), MULTI, SMALL, QUICK, seed=0)


@pytest.fixture(scope="session")
def hidden_fit() -> FitResult:
    ngram = SMALL.model_copy(update={"hidden_units": 8})
    fit = QUICK.model_copy(update={"hidden_learning_rate": 0.05})
    return fit_classifier(single_texts(120, 0), single_texts(60, 1), SINGLE, ngram, fit, seed=0)
