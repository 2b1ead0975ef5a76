"""How well a teacher's maps and presence can be read, as `lfi eval-teacher` says.

It imports data sets, teachers and the measures of `evaluation/`.
"""
