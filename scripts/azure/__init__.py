"""Submitting to Azure ML and following its runs."""
