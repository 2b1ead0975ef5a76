default_scope = 'mmpretrain'
# Makes `lfi.X` known where another project's tool runs an inheriting config.
custom_imports = dict(imports=['lfi'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='accuracy/top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    non_finite=dict(type='lfi.NonFiniteHook'),
    concept_check=dict(type='lfi.ConceptCheckHook'),
    # Several processes validate, and save, the same running statistics of a stem.
    sync_buffers=dict(type='SyncBuffersHook'),
    visualization=dict(_scope_='mmpretrain', type='VisualizationHook', enable=False),
)
# A head whose class count differs from the data set's is an error before the first step.
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
