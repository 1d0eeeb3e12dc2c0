import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from al_platform.domain.selection.options import SelectionOptions


def test_shares_become_pages():
    options = SelectionOptions(budget=500)
    assert (options.audit_size, options.exploration_size, options.domain_cap) == (50, 25, 50)


def test_a_small_budget_still_allows_one_page_a_domain():
    assert SelectionOptions(budget=1, domain_share=0.01).domain_cap == 1


def test_bands_that_increase_are_taken():
    assert SelectionOptions(audit_bands=[0.2, 0.4]).audit_bands == (0.2, 0.4)


def test_no_share_is_no_cap():
    assert SelectionOptions(domain_share=None).domain_cap is None


@given(st.integers(1, 1_000), st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0, 0.33))
def test_rounding_never_draws_more_than_the_budget(budget, audit_share, rest_share, looks_share):
    exploration_share = rest_share * (1 - audit_share)
    look_share = looks_share * (1 - audit_share - exploration_share)
    looks = dict.fromkeys(("control_share", "relabel_share", "second_opinion_share"), look_share)
    options = SelectionOptions(budget=budget, audit_share=audit_share, exploration_share=exploration_share, **looks)
    assert options.audit_size + options.exploration_size + options.looks_size <= budget
    assert options.looks_size >= 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strategy": "margn"}, "Did you mean 'margin'"),
        ({"cold_start_strategy": "entropy"}, "needs predictions"),
        ({"audit_share": 0.6, "exploration_share": 0.4}, "leave nothing of the budget"),
        ({"audit_bands": [0.5, 0.1]}, "must increase"),
        ({"audit_bands": [0.5, 1]}, "must increase"),
        ({"budget": 0}, "greater than or equal to 1"),
        ({"budgets": 5}, "Extra inputs"),
    ],
)
def test_what_cannot_be_used_is_said(given, said):
    with pytest.raises(ValidationError, match=said):
        SelectionOptions(**given)
