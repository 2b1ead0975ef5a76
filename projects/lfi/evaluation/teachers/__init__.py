"""How well a teacher's maps and presence can be read, as `lfi eval-teacher` says.

`open_clip_models` lists and checks the teachers of `lfi teachers`. It imports data sets, teachers and the
measures of `evaluation/`.
"""
