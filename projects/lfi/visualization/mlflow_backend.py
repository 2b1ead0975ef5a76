"""Visualization backend for MLflow."""

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
    """mmengine's MLflow backend with support for long configs, pictures and a local database.

    mmengine's backend logs each config entry as a parameter, but MLflow refuses long ones, such as the names
    of a bank. It logs pictures without the file extension that tells MLflow their format. It writes to a
    folder of files, which MLflow 3 refuses. This backend logs the config as a text and each picture as a PNG
    for its step. Without a server, runs are in `mlflow.db` of the run's folder, beside `mlartifacts/`.

    Args:
        save_dir: folder of the run.
        **kwargs: arguments of mmengine's backend. `tracking_uri` defaults to `MLFLOW_TRACKING_URI` if set,
            else to `mlflow.db`. `exp_name` defaults to 'lfi', and `artifact_suffix` to (), which uploads none
            of the run's files.
    """

    def __init__(self, save_dir: str, **kwargs: Any) -> None:
        folder = Path(save_dir).resolve()
        local = dict(
            tracking_uri=f'sqlite:///{folder}/mlflow.db', artifact_location=f'file://{folder}/mlartifacts'
        )
        server = os.environ.get('MLFLOW_TRACKING_URI')
        defaults = dict(tracking_uri=server) if server else local
        super().__init__(save_dir, **{'artifact_suffix': (), 'exp_name': 'lfi', **defaults, **kwargs})

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config as `config.py`."""
        self.cfg = config
        self._mlflow.log_text(config.pretty_text, 'config.py')

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log a picture, (H, W, 3) uint8 RGB, as `NAME/STEP.png`."""
        self._mlflow.log_image(image, f'{name}/{step:08d}.png')
