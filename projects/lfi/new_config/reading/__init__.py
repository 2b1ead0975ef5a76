"""Readers of data sets, one file for each format, and the search for the format."""

from .class_folders import read_unlabelled
from .find import find_data

__all__ = ['find_data', 'read_unlabelled']
