"""Hooks of data preprocessors, records of mixed images, and pixel formats. They import no student."""
