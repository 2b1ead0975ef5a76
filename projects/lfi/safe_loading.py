"""Safe checkpoint loading as an import, for tools of other projects.

`custom_imports = dict(imports=['lfi', 'lfi.safe_loading'])` in a config calls
`lfi.install_safe_checkpoint_loading` in any OpenMMLab tool that reads the config, for the whole process.
"""

from lfi.engine.checkpoints.reading import install_safe_checkpoint_loading

install_safe_checkpoint_loading()
