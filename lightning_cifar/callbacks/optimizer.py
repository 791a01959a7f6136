"""The line at the start of a training that names its optimizer."""

from pytorch_lightning import Callback, LightningModule, Trainer


class OptimizerPrinter(Callback):
    """Prints once which optimizer a training uses, and where it comes from.

    On the command line, `--optimizer` and its default replace the module's own `configure_optimizers`: whoever edits
    that method must see that it is not called.

    Args:
        origin: where the optimizer comes from; None for the module's own `configure_optimizers`.
    """

    def __init__(self, origin: str | None) -> None:
        self.origin = origin

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print class and learning rate; where the run was resumed, the checkpoint's learning rate."""
        own = f"{type(pl_module).__name__}.configure_optimizers"
        origin = own if self.origin is None else f"{self.origin}, in place of {own} (which --optimizer null uses)"
        bar = trainer.progress_bar_callback
        for optimizer in trainer.optimizers if trainer.is_global_zero else []:
            lr = optimizer.param_groups[0]["lr"]
            (print if bar is None else bar.print)(f"{type(optimizer).__name__} with lr {lr:g}, from {origin}")
