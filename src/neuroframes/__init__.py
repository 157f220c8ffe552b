"""Continuous cortical fMRI frames from EEG and whatever frames were measured."""

__version__ = "0.1.0"
