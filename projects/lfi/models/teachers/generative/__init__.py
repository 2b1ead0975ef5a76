"""Generative VLMs of transformers: their folder, their image tokens and the questions they are asked.

It imports what `loading/` says of foreign code and of where weights come from.
"""
