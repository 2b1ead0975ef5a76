"""Installs the stand-in before the test modules import `mmcv.ops`; compiled ops stay where mmcv has them."""

import lfi.ops

lfi.ops.install()
