"""What becomes of a logged number, before anything is sent."""

import json
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


def entries(encoder, metrics, step):
    return [json.loads(line) for line in encoder.lines(metrics, step).splitlines()]


@contextmanager
def caught_warnings():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


NUMBERS = st.one_of(
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
@given(NUMBERS, st.integers(0, 10**9))
def test_any_number_goes_out_finite_or_is_dropped_with_one_warning(value, step):
    encoder = Encoder()
    with caught_warnings() as caught:
        sent = [entry for _ in range(2) for entry in entries(encoder, {"a": value}, step)]
    try:
        expected = float(value)
    except OverflowError:
        expected = math.inf
    if math.isfinite(expected):
        assert [(entry["value"], entry["step"]) for entry in sent] == [(expected, step)] * 2
        assert all(type(entry["value"]) is float for entry in sent) and not caught
    else:
        assert not sent and len(caught) == 1


@pytest.mark.parametrize("value", ["text", None, torch.zeros(2), [1.0], object(), 10**400, 1j, torch.tensor(1j)])
def test_what_is_no_scalar_is_left_out_with_one_warning_and_spares_its_neighbours(value):
    encoder = Encoder()
    with caught_warnings() as caught:
        for step in (0, 1):
            assert [e["metric"] for e in entries(encoder, {"bad": value, "good": 1.0}, step)] == ["good"]
    assert len(caught) == 1 and "'bad' is" in str(caught[0].message)


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
def test_of_any_names_those_that_fit_among_the_first_fifty_are_recorded_and_each_other_is_warned_of_once(names, times):
    encoder, recorded = Encoder(), []
    with caught_warnings() as caught:
        for step in range(times):
            recorded.append([entry["metric"] for entry in entries(encoder, dict.fromkeys(names, 0.5), step)])
    fit = [str(name) for name in names[: V1_LIMITS.names] if len(str(name)) <= V1_LIMITS.name_length]
    assert recorded == [fit] * times
    assert len(caught) == len(names) - len(fit)


def test_a_name_that_is_one_too_many_is_named():
    with pytest.warns(UserWarning, match="'m50' is left out: in a run, Azure ML takes 50 names of at most 255 charact"):
        Encoder().lines({f"m{i}": 1.0 for i in range(51)}, 0)
