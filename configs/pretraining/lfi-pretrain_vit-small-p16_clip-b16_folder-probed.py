# Like lfi-pretrain_vit-small-p16_clip-b16_folder.py, with validation by k-NN and a linear probe on a labelled
# folder with one subfolder per class.
#   python tools/train.py configs/pretraining/lfi-pretrain_vit-small-p16_clip-b16_folder-probed.py \
#       --cfg-options data_root=FOLDER labelled_root=LABELLED
_base_ = './lfi-pretrain_vit-small-p16_clip-b16_folder.py'

labelled_root = '{{$LFI_DATA_ROOT:data}}/labelled'
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmpretrain',
        type='CustomDataset',
        data_root=labelled_root,
        with_label=True,
        pipeline={{_base_.test_pipeline}},
    ),
)
# One half of the images classifies the other half.
val_evaluator = [dict(type='lfi.KNNMetric'), dict(type='lfi.LinearProbeMetric')]
test_dataloader = dict(dataset=dict(_delete_=True, **val_dataloader['dataset']))
test_evaluator = val_evaluator
val_cfg = dict(_delete_=True)
train_cfg = dict(val_interval=10)
