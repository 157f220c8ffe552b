"""Metrics, tasks and tables: how good a sequence of frames is, on what was held out."""
