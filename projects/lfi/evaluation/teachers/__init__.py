"""Evaluation of teachers: `lfi eval-teacher` and `lfi teachers`.

Imports data sets, teachers and the measures of `evaluation/`.
"""
