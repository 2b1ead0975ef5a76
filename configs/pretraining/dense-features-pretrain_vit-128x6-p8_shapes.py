# The student of lfi-pretrain_vit-128x6-p8_shapes.py is pretrained by the teacher's standardised features of each location.
#   python tools/train.py configs/pretraining/dense-features-pretrain_vit-128x6-p8_shapes.py
_base_ = '../_base_/pretraining/vit-128x6-p8_shapes.py'

model = dict(supervision=dict(dense_features=dict(type='lfi.DenseFeatures', loss_weight=8.0)))
