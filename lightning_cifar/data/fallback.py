"""Training on drawn images where CIFAR-10 cannot be had: only where asked for, and never unnoticed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pytorch_lightning.utilities import rank_zero_only

from lightning_cifar.data import Source
from lightning_cifar.data.cifar10 import Cifar10Source
from lightning_cifar.data.console import say
from lightning_cifar.data.factory import make_source
from lightning_cifar.data.synthetic import SyntheticSource

WAIT = 10.0
"""Seconds that a mirror has to answer."""


def choose_source(
    source: str,
    data_dir: Path,
    mirrors: Sequence[str] | None = None,
    allow_unverified: bool = False,
    fallback: Literal["synthetic"] | None = None,
) -> Source:
    """Make the source that `make_source` names, or the fallback where CIFAR-10 is not here and no mirror answers.

    Nothing is left behind that would make the next run fall back, too.

    Raises:
        UserError: as `make_source`.
    """
    wanted = make_source(source, data_dir, mirrors, allow_unverified)
    if fallback is None or not isinstance(wanted, Cifar10Source) or wanted.is_present() or wanted.reachable(WAIT):
        return wanted
    rank_zero_only(say)(WARNING.format(data_dir=data_dir))
    return SyntheticSource(cache_dir=data_dir)


WARNING = """
############################################################################
#  NO CIFAR-10 HERE, AND NO MIRROR ANSWERS: TRAINING ON SYNTHETIC IMAGES   #
#  They are drawn by this project. Accuracies say nothing about CIFAR-10.  #
############################################################################
To train on CIFAR-10: put cifar-10-python.tar.gz into {data_dir}/, name another address with
--data.mirrors, or your own folder of images with DATA=FOLDER.
"""
