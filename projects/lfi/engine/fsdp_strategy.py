"""Fully sharded data parallel training by MMEngine's FlexibleRunner."""

from __future__ import annotations

from typing import Any

from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from mmengine.device import get_device
from torch.distributed.fsdp import FullyShardedDataParallel

from lfi.registry import STRATEGIES

# mmengine's 'full' without offload to the CPU. torch 2.13 crashes if the tensors are on the CPU already.
FULL_ON_CPU = dict(
    state_dict_type='FULL_STATE_DICT',
    state_dict_config=dict(type='FullStateDictConfig', rank0_only=True),
    optim_state_dict_config=dict(type='FullOptimStateDictConfig', rank0_only=True),
)


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineFSDPStrategy):
    """mmengine's `FSDPStrategy` that can resume with current torch and run on the CPU by gloo.

    Args:
        model_wrapper: Config of `MMFullyShardedDataParallel`. Defaults to None: a config that keeps the names
            and settings of parameters.
        state_dict_cfg: 'full' for checkpoints of complete tensors, which all tools read, or a dict as in
            mmengine's `FSDPStrategy`. Defaults to 'full'.
        **kwargs: Arguments of mmengine's strategy.

    Raises:
        ValueError: If `state_dict_cfg` is 'local': safe loading refuses its pickled shards, and no training
            could resume. If `model_wrapper` has `use_orig_params=False`: it loses the settings of single
            parameters.
    """

    def __init__(
        self, *, model_wrapper: dict | None = None, state_dict_cfg: str | dict = 'full', **kwargs: Any
    ) -> None:
        if state_dict_cfg == 'local':
            raise ValueError(
                "state_dict_cfg='local' writes checkpoints that cannot be resumed from: use 'full'"
            )
        model_wrapper = {
            'type': 'MMFullyShardedDataParallel',
            'use_orig_params': True,
            **(model_wrapper or {}),
        }
        if not model_wrapper['use_orig_params']:
            raise ValueError(
                'model_wrapper.use_orig_params=False joins parameters and loses their learning rates and '
                'weight decays: leave it out'
            )
        if get_device() == 'cpu':
            model_wrapper['device_id'] = 'cpu'
            state_dict_cfg = FULL_ON_CPU if state_dict_cfg == 'full' else state_dict_cfg
        super().__init__(model_wrapper=model_wrapper, state_dict_cfg=state_dict_cfg, **kwargs)

    def prepare(self, *args: Any, **kwargs: Any) -> tuple:
        """Prepare as mmengine does, but clip gradients by their norm over all processes."""
        prepared = super().prepare(*args, **kwargs)
        wrapper = getattr(self, 'optim_wrapper', None)
        if wrapper is not None and wrapper.clip_grad_kwargs and wrapper.grad_name == 'grad_norm':
            wrapper.clip_func = lambda parameters, **settings: self.model.clip_grad_norm_(**settings)
        return prepared

    def build_optim_wrapper(self, optim_wrapper: Any, model: Any = None) -> Any:
        """Build the wrapper while parameters have their full shapes."""
        # Shards have one dimension: each would count as a bias, which has no weight decay.
        with FullyShardedDataParallel.summon_full_params(self.model, writeback=False):
            return super().build_optim_wrapper(optim_wrapper, model)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the state with torch's arguments by name, because torch has changed their order."""
        state_dict = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(state_dict)
