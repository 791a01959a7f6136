"""What becomes of a logged number, before anything is sent."""

import math
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_cifar.azure.backends import V1_LIMITS
from lightning_cifar.azure.encode import Encoder
from lightning_cifar.azure.lines import unseal


def entries(encoder, metrics, step):
    return [unseal(line.encode()) for line in encoder.lines(metrics, step).splitlines()]


@contextmanager
def caught_warnings():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


VALUES = st.one_of(
    st.sampled_from(["text", None, torch.zeros(2), [1.0], object(), 1j, torch.tensor(1j)]),
    st.floats(),
    st.integers(),
    st.integers(min_value=10**300),
    st.booleans(),
    st.booleans().map(np.bool_),
    st.booleans().map(torch.tensor),
    st.floats(width=32).map(np.float32),
    st.floats().map(np.longdouble),
    st.floats(width=16).map(np.float16),
    st.integers(0, 2**64 - 1).map(np.uint64),
    st.floats(width=32).map(torch.tensor),
    st.floats(width=16).map(lambda x: torch.tensor([[x]], dtype=torch.bfloat16, requires_grad=True)),
    st.integers(-(2**63), 2**63 - 1).map(torch.tensor),
    st.fractions(),
)


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:Converting a tensor")  # by `float` in this test
@given(VALUES, st.integers(0, 10**9))
def test_any_value_goes_out_finite_or_not_at_all_with_one_warning_and_spares_its_neighbours(value, step):
    encoder = Encoder()
    with caught_warnings() as caught:
        lines = [entry for _ in range(2) for entry in entries(encoder, {"a": value, "good": 1.0}, step)]
    sent = [entry for entry in lines if entry["metric"] == "a" and "skip" not in entry]
    assert len([entry for entry in lines if entry["metric"] == "good"]) == 2
    try:
        expected = float(value)
    except (OverflowError, TypeError, ValueError, RuntimeError):
        expected = math.inf
    if math.isfinite(expected):
        assert [(entry["value"], entry["step"]) for entry in sent] == [(expected, step)] * 2
        assert all(type(entry["value"]) is float for entry in sent) and not caught
    else:
        assert not sent and len(caught) == 1 and "'a' is" in str(caught[0].message)


@pytest.mark.parametrize("value", [float("nan"), torch.tensor(-float("inf"))])
def test_what_is_not_finite_is_kept_on_disk(value):
    with pytest.warns(UserWarning, match="at step 4, which Azure ML does not take: kept on disk only"):
        (kept,) = entries(Encoder(), {"bad": value}, 4)
    assert kept["value"] == str(float(value)) and kept["skip"] == "not finite"


@pytest.mark.parametrize("steps", [(4, 5, 0, 1, 0), (4, 5, 5, 5)])
def test_a_step_that_has_a_value_already_is_warned_of_once_for_each_name(steps):
    encoder = Encoder()
    with pytest.warns(UserWarning, match="'a' is logged at step [05] after step 5; .* the first value") as caught:
        for index, step in enumerate(steps):
            encoder.lines({"a": float(index)}, step)
    assert len(caught) == 1


def test_a_value_without_step_never_collides_and_never_lacks_one():
    encoder = Encoder()
    calls = [({"a": 1}, None), ({"a": 2}, None), ({"b": 1}, 10), ({"a": 3}, None), ({"a": 4}, None)]
    assert [entries(encoder, metrics, step)[0]["step"] for metrics, step in calls] == [0, 1, 10, 10, 11]


NAMES = st.one_of(st.text(max_size=300), st.text("ab", min_size=250, max_size=260), st.integers(), st.none())


@given(st.lists(NAMES, unique_by=str, max_size=70), st.integers(1, 3))
def test_of_any_names_the_first_fifty_that_fit_are_sent_and_each_other_is_kept_and_warned_of_once(names, times):
    encoder, sent = Encoder(), []
    with caught_warnings() as caught:
        for step in range(times):
            lines = entries(encoder, dict.fromkeys(names, 0.5), step)
            assert [entry["metric"] for entry in lines] == [str(name) for name in names], "all are kept on disk"
            sent.append([entry["metric"] for entry in lines if "skip" not in entry])
    fit = [str(name) for name in names if len(str(name)) <= V1_LIMITS.name_length][: V1_LIMITS.names]
    assert sent == [fit] * times
    kept = [str(warning.message).split(" is kept on disk but not sent: in a run, Azure")[0] for warning in caught]
    assert kept == [f"AzureMLLogger: {str(name)!r}" for name in names if str(name) not in fit]
