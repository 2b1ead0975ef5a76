"""Safe checkpoint loading as an import, for tools of other projects.

With `custom_imports = dict(imports=['lfi', 'lfi.safe_loading'])` in a config, any OpenMMLab tool that reads
the config calls `lfi.install_safe_checkpoint_loading`, until its process ends.
"""

from lfi.engine.checkpoints.reading import install_safe_checkpoint_loading

install_safe_checkpoint_loading()
