# 12 epochs of AdamW at batch size 16, with layer-wise decay of the learning rate.
_base_ = 'mmdet::_base_/schedules/schedule_1x.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.1),
    constructor='lfi.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.7,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            '.pos_embed': dict(decay_mult=0.0),
            '.rel_pos_h': dict(decay_mult=0.0),
            '.rel_pos_w': dict(decay_mult=0.0),
            '.interaction_queries': dict(decay_mult=0.0),
            '.query_gate': dict(decay_mult=0.0),
        },
    ),
    clip_grad=dict(max_norm=1.0),
)
