"""Readers of data sets, one file for each format, and the search for the format."""

from .checking import check_data
from .class_folders import read_unlabelled
from .find import find_data

__all__ = ['check_data', 'find_data', 'read_unlabelled']
