"""The option that names a checkpoint which could not be read."""

from __future__ import annotations

from traceback import walk_tb

from mmengine.runner import Runner

from .checkpoints.addresses import named_checkpoints


def advice_on_checkpoint(error: BaseException) -> str:
    """Return the advice to change the option that names the checkpoint of an error, or ''.

    Args:
        error: error that a Runner's training raised while it read an initial checkpoint.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    files = {name for frame in frames if isinstance(name := frame.f_locals.get('filename'), str)}
    selves = (frame.f_locals.get('self') for frame in frames if frame.f_code.co_name == 'train')
    for runner in (owner for owner in selves if isinstance(owner, Runner)):
        for key, checkpoint in named_checkpoints(runner.cfg):
            if checkpoint in files:
                option = key.removesuffix('.checkpoint')
                return (
                    f'; {key} names it: give a local file, or --cfg-options {option}=None to train without it'
                )
    return ''
