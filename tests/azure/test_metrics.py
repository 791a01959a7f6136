"""What becomes of a logged number, before anything is sent."""

import json
import warnings

import numpy as np
import pytest
import torch

from lightning_cifar.azure.encode import MetricBook


def entries(book, metrics, step):
    return [json.loads(line) for line in book.lines(metrics, step).splitlines()]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0.25, 0.25),
        (3, 3.0),
        (True, 1.0),
        (torch.tensor(0.25), 0.25),
        (torch.tensor([7]), 7.0),
        (torch.tensor(True), 1.0),
        (torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True), 0.5),
        (np.float32(0.25), 0.25),
        (np.int64(7), 7.0),
        (np.uint64(7), 7.0),
        (np.bool_(False), 0.0),
        (np.longdouble(0.5), 0.5),
    ],
)
def test_every_scalar_becomes_a_float(value, number):
    (entry,) = entries(MetricBook(), {"a": value}, 5)
    assert entry["value"] == number and type(entry["value"]) is float
    assert (entry["metric"], entry["step"]) == ("a", 5)


@pytest.mark.parametrize("value", ["text", None, torch.zeros(2), [1.0], object(), 10**400])
def test_what_is_no_scalar_is_left_out_with_one_warning_and_spares_its_neighbours(value):
    book = MetricBook()
    with pytest.warns(UserWarning, match="'bad' is no scalar"):
        assert [e["metric"] for e in entries(book, {"bad": value, "good": 1.0}, 0)] == ["good"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [e["metric"] for e in entries(book, {"bad": value, "good": 1.0}, 1)] == ["good"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), torch.tensor(float("nan"))])
def test_what_is_not_finite_is_kept_marked_and_warned_of_once(value):
    book = MetricBook()
    with pytest.warns(UserWarning, match="at step 4; Azure ML takes no such number") as caught:
        bad, good = entries(book, {"bad": value, "good": 1.0}, 4)
        entries(book, {"bad": value}, 5)
    assert bad["skip"] == "not finite" and "skip" not in good
    assert len(caught) == 1


def test_a_step_that_was_passed_before_is_warned_of_once_for_each_name():
    book = MetricBook()
    with pytest.warns(
        UserWarning, match="'a' starts again at step 0, after step 5.*first value of each step"
    ) as caught:
        for step in (4, 5, 0, 1, 0):
            book.lines({"a": 1.0}, step)
    assert len(caught) == 1


def test_a_name_may_be_anything():
    assert [entry["metric"] for entry in entries(MetricBook("p"), {7: 1.0, None: 2.0}, 0)] == ["p-7", "p-None"]


def test_a_value_without_step_never_collides_and_never_lacks_one():
    book = MetricBook()
    steps = [
        entries(book, metrics, step)[0]["step"]
        for metrics, step in [
            ({"a": 1}, None),
            ({"a": 2}, None),
            ({"b": 1}, 10),
            ({"a": 3}, None),
            ({"a": 4}, None),
        ]
    ]
    assert steps == [0, 1, 10, 10, 11]


def test_a_second_value_at_the_same_step_is_warned_of():
    book = MetricBook()
    book.lines({"test_acc": 0.5}, 9)
    with pytest.warns(UserWarning, match="'test_acc' was logged again at step 9"):
        book.lines({"test_acc": 0.6}, 9)


def test_the_first_fifty_names_are_sendable_and_the_others_are_named_once():
    book = MetricBook("run", "/")
    with pytest.warns(UserWarning, match="at most 50 names.*run/m50, run/m51$") as caught:
        first = entries(book, {f"m{i}": 1.0 for i in range(52)}, 0)
        second = entries(book, {f"m{i}": 1.0 for i in range(52)}, 1)
    assert len(caught) == 1
    for lines in (first, second):
        assert [e["metric"] for e in lines if "skip" not in e] == [f"run/m{i}" for i in range(50)]


def test_a_name_over_255_characters_is_named_once_and_takes_no_room():
    book = MetricBook()
    with pytest.warns(UserWarning, match="255 characters.*xxx") as caught:
        (entry,) = entries(book, {"x" * 256: 1.0}, 0)
        book.lines({"x" * 256: 1.0}, 1)
    assert entry["skip"] == "over 255 characters" and len(caught) == 1
    assert all("skip" not in e for e in entries(book, {f"m{i}": 1.0 for i in range(50)}, 0))


def test_names_and_values_of_any_kind_are_one_json_line_each():
    names = {'quote"', "newline\n", "schön", "back\\slash", "a/b"}
    assert {e["metric"] for e in entries(MetricBook(), dict.fromkeys(names, 1e-300), 0)} == names
