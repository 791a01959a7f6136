"""Measurements of training, logger and data."""
