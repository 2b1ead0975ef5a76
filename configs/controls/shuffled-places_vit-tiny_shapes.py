# lfi_vit-tiny_shapes.py with the places of the teacher's maps shuffled.
#   python tools/train.py configs/controls/shuffled-places_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(type='lfi.ShuffledPlacesClassifier')
