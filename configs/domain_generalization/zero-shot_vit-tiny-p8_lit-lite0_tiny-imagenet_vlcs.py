# Zero-shot classification of VLCS by presence, with a student trained on Tiny-ImageNet.
# CHECKPOINT was trained with configs/classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/test.py \
#       configs/domain_generalization/zero-shot_vit-tiny-p8_lit-lite0_tiny-imagenet_vlcs.py CHECKPOINT
_base_ = './zero-shot_vit-tiny-p8_lit-lite0_tiny-imagenet_pacs.py'

model = dict(predict_by=dict(concepts=dict(type='lfi.VLCS')))
data_preprocessor = dict(num_classes=5)
test_dataloader = dict(dataset=dict(type='lfi.VLCS', data_root='{{$LFI_DATA_ROOT:data}}/VLCS'))
