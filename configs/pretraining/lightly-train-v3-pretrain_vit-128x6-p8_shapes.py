# The student of lfi-pretrain_vit-128x6-p8_shapes.py is pretrained by the similarities of locations and of images.
#   python tools/train.py configs/pretraining/lightly-train-v3-pretrain_vit-128x6-p8_shapes.py
_base_ = '../_base_/pretraining/vit-128x6-p8_shapes.py'

model = dict(supervision=dict(lightly_train=dict(type='lfi.LightlyTrain', queue_size=1024, loss_weight=0.5)))
