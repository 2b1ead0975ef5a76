# CLIP ViT-B/16 on larger images, for detectors and segmentors: 28 x 28 locations.
_base_ = './clip-b16.py'

teacher = dict(input_size=448, max_concepts=16)
