"""MLflow as one of the places where a run's scalars and pictures go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.visualization import MLflowVisBackend as MMEngineBackend
from mmengine.visualization.vis_backend import force_init_env

from lfi.registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowVisBackend(MMEngineBackend):
    """mmengine's backend, which takes our configs and pictures.

    mmengine's gives MLflow each entry of a config as a parameter, which MLflow refuses where one is long,
    such as a bank's names; pictures without the ending by which MLflow knows their format; and a folder of
    files to write to, which MLflow 3 refuses. Here the config is a text, a picture is a PNG for each step,
    and without a server the runs are in `mlflow.db` of the run's folder, beside `mlartifacts/`.

    Args:
        save_dir: of the run.
        **kwargs: of mmengine's. `tracking_uri` defaults to `MLFLOW_TRACKING_URI`, and to that file where it
            is not set, and `exp_name` to 'lfi'. `artifact_suffix` is empty: files stay where they are.
    """

    def __init__(self, save_dir: str, **kwargs: Any) -> None:
        folder = Path(save_dir).resolve()
        local = dict(
            tracking_uri=f'sqlite:///{folder}/mlflow.db', artifact_location=f'file://{folder}/mlartifacts'
        )
        server = os.environ.get('MLFLOW_TRACKING_URI')
        defaults = dict(tracking_uri=server) if server else local
        # An experiment of its own has its artifacts where it says.
        super().__init__(save_dir, **{'artifact_suffix': (), 'exp_name': 'lfi', **defaults, **kwargs})

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as `config.py`."""
        self.cfg = config
        self._mlflow.log_text(config.pretty_text, 'config.py')

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record a picture, (H, W, 3) uint8 RGB, as `NAME/STEP.png`."""
        self._mlflow.log_image(image, f'{name}/{step:08d}.png')
