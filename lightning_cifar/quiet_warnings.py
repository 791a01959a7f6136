"""Filter warnings that do not apply to this project, and print the others in one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NOT_APPLICABLE = (
    ".*does not have many workers.*",  # batches come from memory: there is nothing for workers to do
    ".*configure_optimizers` will be overridden.*",  # the log names the optimizer that is used, and why
    ".*smaller than the logging interval.*",  # `loss` has windows of its own
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Total length of `list` across ranks is zero.*",  # val_size 0 is no accident
    ".*could not find the monitored key.*",  # without validation there is no best network, only the last
    ".*You requested to overfit but enabled.*",  # the data module hands out the same images by itself
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # Lightning's own business
    ".*Couldn't infer the batch indices.*",  # predictions come in the order of the files
    ".*Glyph .* missing from font.*",  # in a class's name: matplotlib draws a box instead
)


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Filter what does not apply; format other warnings as errors are: one line, without a place in the code."""
    # Lightning's log lines that recommend its makers' other products, a logger among them
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(lambda line: "Tip: " not in line.getMessage())
    before = warnings.formatwarning
    with warnings.catch_warnings():
        for message in NOT_APPLICABLE:
            warnings.filterwarnings("ignore", message)
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
        try:
            yield
        finally:
            warnings.formatwarning = before
