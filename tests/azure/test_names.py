"""What becomes of names that MLflow refuses, by its own check."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name

from lightning_cifar.azure.backends.names import free_names, mlflow_key


@given(st.text(max_size=300) | st.text("a/.@ ", max_size=12) | st.text("ab@%", min_size=240, max_size=260))
def test_every_name_becomes_one_that_mlflow_takes(name):
    key = mlflow_key(name)
    _validate_metric_name(key)
    assert len(key) <= MAX_ENTITY_KEY_LENGTH


@pytest.mark.parametrize("name", ["loss", "val/acc top-1: größte_2", "a.b", "x" * 250])
def test_a_name_that_mlflow_takes_stays(name):
    assert mlflow_key(name) == name


def test_names_that_would_fall_together_are_kept_apart():
    names = ["acc@1", "acc%1", "acc_1", "/acc_1", "acc_1/", "x" * 251, "x" * 252, "", "_", "..", "a//b", "a/b"]
    assert len({mlflow_key(name) for name in names}) == len(names)
    assert mlflow_key("acc@1") == "acc_1-71dfc1", "the same in each process and in a replay of last year's record"


def test_an_artifact_s_name_is_numbered_before_its_suffix():
    assert list(islice(free_names("images/a.b.png"), 3)) == ["images/a.b.png", "images/a.b-1.png", "images/a.b-2.png"]
