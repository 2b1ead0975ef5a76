"""The student: one class for the models of all tasks.

The package imports backbones, teachers, supervision and batches, and no data set. `lfi.models` imports
neither mmdet nor mmseg.
"""
