"""Callbacks that the classifier or the default recipe brings to a Trainer."""
