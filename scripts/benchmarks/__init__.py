"""Measurements of training, logger and data, one file per subject."""
