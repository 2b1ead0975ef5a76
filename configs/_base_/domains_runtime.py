# The default runtime for data sets of several domains.
_base_ = './default_runtime.py'

# DomainBed's training-domain validation: the target domain has no say.
default_hooks = dict(checkpoint=dict(save_best='domain/mean', rule='greater'))
