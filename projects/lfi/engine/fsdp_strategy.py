"""Fully sharded data parallel by MMEngine's FlexibleRunner."""

from __future__ import annotations

from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from mmengine.device import get_device
from torch.distributed.fsdp import FullyShardedDataParallel

from lfi.registry import STRATEGIES

# mmengine's 'full' without the offload to the CPU, at which torch 2.13 crashes where the tensors are there.
FULL_ON_CPU = dict(
    state_dict_type='FULL_STATE_DICT',
    state_dict_config=dict(type='FullStateDictConfig', rank0_only=True),
    optim_state_dict_config=dict(type='FullOptimStateDictConfig', rank0_only=True),
)


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineFSDPStrategy):
    """mmengine's `FSDPStrategy`, which resumes on torch of today, and runs on the CPU by gloo.

    Args:
        model_wrapper: config of `MMFullyShardedDataParallel`. Defaults to one that keeps the parameters' own
            names and settings.
        state_dict_cfg: 'full', a checkpoint of whole tensors as every other tool reads it, or mmengine's
            settings of one. Defaults to 'full'.
        **kwargs: those of mmengine's strategy.

    Raises:
        ValueError: if `state_dict_cfg` is 'local': a process's share of each tensor is pickled by classes
            that safe reading refuses, and could not be resumed from.
    """

    def __init__(
        self, *, model_wrapper: dict | None = None, state_dict_cfg: str | dict = 'full', **kwargs
    ) -> None:
        if state_dict_cfg == 'local':
            raise ValueError("state_dict_cfg='local' writes what cannot be resumed from: use 'full'")
        model_wrapper = {
            'type': 'MMFullyShardedDataParallel',
            'use_orig_params': True,
            **(model_wrapper or {}),
        }
        if get_device() == 'cpu':
            model_wrapper['device_id'] = 'cpu'
            state_dict_cfg = FULL_ON_CPU if state_dict_cfg == 'full' else state_dict_cfg
        super().__init__(model_wrapper=model_wrapper, state_dict_cfg=state_dict_cfg, **kwargs)

    def prepare(self, *args, **kwargs) -> tuple:
        """As mmengine's; the gradient is clipped by its whole norm, not by that of each process's share."""
        prepared = super().prepare(*args, **kwargs)
        wrapper = getattr(self, 'optim_wrapper', None)
        if getattr(wrapper, 'clip_grad_kwargs', None) and wrapper.grad_name == 'grad_norm':
            wrapper.clip_func = lambda parameters, **settings: self.model.clip_grad_norm_(**settings)
        return prepared

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """As mmengine's, which gives torch's function its arguments in an order that torch has changed."""
        state_dict = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(state_dict)
