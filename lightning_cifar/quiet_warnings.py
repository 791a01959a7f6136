"""Filter warnings that do not apply to this project, and print the others in one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NOT_APPLICABLE = (
    ".*does not have many workers.*",  # batches come from memory: there is nothing for workers to do
    ".*configure_optimizers` will be overridden.*",  # OptimizerPrinter prints which optimizer is used, and why
    ".*smaller than the logging interval.*",  # `loss` has windows of its own
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Total length of `list` across ranks is zero.*",  # val_size 0 is no accident
    ".*could not find the monitored key.*",  # without validation there is no best network, only the last
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # Lightning's own business
    ".*Couldn't infer the batch indices.*",  # predictions come in the order of the files
    ".*Glyph .* missing from font.*",  # in a class's name: matplotlib draws a box instead
)
"""Warnings that do not apply to this project, or that its user cannot act on."""

ADVERTISING = "\N{ELECTRIC LIGHT BULB} Tip: "
"""How Lightning's log lines begin that recommend its makers' other products, a logger among them."""


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Filter what does not apply; format other warnings as errors are: one line, without a place in the code."""
    lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    with warnings.catch_warnings():
        for message in NOT_APPLICABLE:
            warnings.filterwarnings("ignore", message)
        before, warnings.formatwarning = warnings.formatwarning, _format
        lightning.addFilter(_is_no_advertising)
        try:
            yield
        finally:
            warnings.formatwarning = before
            lightning.removeFilter(_is_no_advertising)


def _format(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"warning: {message}\n"


def _is_no_advertising(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(ADVERTISING)
