default_scope = 'mmpretrain'
# Registers `lfi.X` if another project's tool runs an inheriting config.
custom_imports = dict(imports=['lfi'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='accuracy/top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    non_finite=dict(type='lfi.NonFiniteHook'),
    concept_check=dict(type='lfi.ConceptCheckHook'),
    # Average the running statistics of the stem over processes before validation and saving.
    sync_buffers=dict(type='SyncBuffersHook'),
    visualization=dict(_scope_='mmpretrain', type='VisualizationHook', enable=False),
)
# Check before the first step that the head has the number of classes of the data set.
custom_hooks = [dict(_scope_='mmpretrain', type='ClassNumCheckHook')]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(_scope_='mmpretrain', type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
