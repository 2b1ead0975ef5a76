"""Students: any task's model that learns from a teacher, its baselines and its negative controls.

They import backbones, teachers, losses and batches, and no data set. Detectors need mmdet, segmentors mmseg:
`lfi.models` imports neither.
"""
