"""Norms that need several processes, in a check on one."""

from __future__ import annotations

from typing import Any

from lfi.utils.config_types import configs_in

# mmcv's own layer asks for the process group when it is built. torch's, `SyncBN`, is a plain batch norm
# without one. The weights of all have the same names.
GROUP_NORM, PLAIN_NORM = 'MMSyncBN', 'BN'


def group_norms(model: object) -> list[dict[str, Any]]:
    """Return the configs of the norms in a model's config that cannot be built without a process group."""
    return [config for config in configs_in(model) if config.get('type') == GROUP_NORM]


def use_plain_norms(model: object) -> None:
    """Replace the norms in a model's config that need a process group by plain batch norms, in place."""
    for config in group_norms(model):
        config['type'] = PLAIN_NORM
