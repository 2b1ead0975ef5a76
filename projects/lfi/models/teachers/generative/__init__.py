"""Generative VLMs of transformers: folders, image tokens, and questions about concepts.

This package imports `loading.foreign_code` and `loading.weights_source`.
"""
