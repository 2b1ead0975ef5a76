"""Safe reading of checkpoints as an import, for tools of other projects.

`custom_imports = dict(imports=['lfi', 'lfi.safe_loading'])` in a config makes any OpenMMLab tool that reads
the config load checkpoints as `lfi.install_safe_checkpoint_loading` says, until its process ends.
"""

from lfi.engine.checkpoints.reading import install_safe_checkpoint_loading

install_safe_checkpoint_loading()
