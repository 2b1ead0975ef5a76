# Default runtime for data sets with several domains.
_base_ = './default_runtime.py'

# DomainBed's training-domain validation: model selection does not use the target domain.
default_hooks = dict(checkpoint=dict(save_best='domain/mean', rule='greater'))
