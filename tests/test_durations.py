"""Durations, as `--checkpoint_every` and `--max-duration` take them."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_cifar.durations import Duration

NUMBERS = st.decimals(min_value=0, max_value=10_000, places=3, allow_nan=False)


@given(NUMBERS, st.sampled_from("smhd"))
def test_durations_are_whole_seconds_of_any_unit(number: object, unit: str) -> None:
    seconds = float(str(number)) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    for text in (f"{number}{unit}", f" {number}{unit.upper()} ", *([str(number)] if unit == "s" else [])):
        if seconds < 1:
            with pytest.raises(argparse.ArgumentTypeError):
                Duration(text)
        else:
            assert seconds - 1 < Duration(text) <= seconds


@pytest.mark.parametrize("text", ["1e3s", "٣h", "inf", "-1h", "3 hours", "", "h", "0"])
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"write for instance 3\.5h"):
        Duration(text)


@pytest.mark.parametrize(("text", "says"), [("soon", "'soon' is no duration"), ("0", "write for instance 3.5h")])
def test_a_bad_interval_between_checkpoints_is_refused_in_one_line(main, text: str, says: str) -> None:
    assert main("fit", "--checkpoint_every", text) == 1
    assert "--checkpoint_every" in main.err and says in main.err and len(main.err.splitlines()) == 1
