# A small ViT on the built-in Shapes data without labels, with the built-in teacher.
_base_ = '../../baselines/task-loss_vit-128x6-p8_shapes.py'

model = dict(task=None, head=None, teacher=__import__('lfi').teacher_config('shapes-tiny'))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='lfi.FewLabels',
        labels_per_class=0,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
# Validate features on labelled images: one half of them classifies the other half.
val_evaluator = [dict(type='lfi.KNNMetric'), dict(type='lfi.LinearProbeMetric')]
test_evaluator = val_evaluator
# Keep the last checkpoint: the choice of the best one would use labels.
default_hooks = dict(checkpoint=dict(save_best=None))
# There is no head to check.
custom_hooks = []
