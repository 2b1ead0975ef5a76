"""State of a training run, as MMEngine's Runner publishes it."""

from __future__ import annotations

from mmengine.logging import MessageHub


def is_first_iteration() -> bool:
    """Whether a Runner is in the first iteration of a new training.

    It is not in a resumed training, and not outside a Runner's training.
    """
    hub = MessageHub.get_current_instance()
    # `RuntimeInfoHook` sets both before training, and removes the stage after it.
    return hub.get_info('loop_stage') == 'train' and hub.get_info('iter') == 0
