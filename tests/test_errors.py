"""Errors in one line, with the line of the user's own code, and with a traceback on request."""

import pytest

from lightning_cifar.errors import one_line, place, raised_by_library


@pytest.mark.parametrize("debug", [None, "0", "1"])
def test_an_error_is_one_line_with_the_place_and_on_request_the_traceback(main, images, monkeypatch, debug):
    monkeypatch.syspath_prepend(main.folder)
    (main.folder / "hasty_net.py").write_text(
        "from torch import nn\nclass Hasty(nn.Module):\n    def __init__(self):\n        self.layer = nn.Flatten()\n"
    )
    monkeypatch.delenv("LIGHTNING_CIFAR_DEBUG", raising=False)
    if debug is not None:
        monkeypatch.setenv("LIGHTNING_CIFAR_DEBUG", debug)
    assert main("fit", "--data.source", images, "--model.net", "hasty_net.Hasty") == 1
    assert "(hasty_net.py, line 4; LIGHTNING_CIFAR_DEBUG=1 shows the traceback)" in main.err.splitlines()[-1]
    assert ('hasty_net.py", line 4, in __init__' in main.err) == (debug == "1")


def test_an_error_outside_the_users_code_has_no_place():
    try:
        int("x")
    except ValueError as error:
        assert place(error.with_traceback(None)) == ""
    assert place(None) == ""


def test_what_a_library_says_in_several_lines():
    assert one_line(ValueError("several:\n\n  - of them.\n* or 3 - 2;")) == "several: of them; or 3 - 2"


def test_an_error_that_no_library_raised_keeps_its_traceback():
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int("x")
    assert not raised_by_library(raised.value)
