# ResNet-50 on the images of any folder, without labels, pretrained by CLIP ViT-B/16's interactions.
#   python tools/train.py configs/pretraining/lfi-pretrain_resnet50_clip-b16_folder.py --cfg-options data_root=FOLDER
_base_ = './lfi-pretrain_vit-small-p16_clip-b16_folder.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryAdapter',
        backbone=dict(type='ResNet', depth=50),
        reads=('layer3', 'layer4'),
    ),
)
