"""Finding and loading a vision-language model: a name, a folder, or a module of one's own.

It imports `generative/` and no extractor, and runs no code that weights bring.
"""
