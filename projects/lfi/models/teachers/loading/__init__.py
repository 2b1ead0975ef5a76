"""Finding and loading of vision-language models: by name, from a folder, or from a custom module.

This package imports `generative/` and no extractor, and runs no code from a model's files.
"""
