"""Two processes of a launcher, one of which is slow, and which see different files."""

import time
from datetime import timedelta
from pathlib import Path

import torch.distributed
from lfi.datasets.tar_shards.web_dataset import agreed_urls
from lfi.engine.processes import patient_group
from mmengine import dist

TIMEOUT = 3.0


def work(rank: int, folder: str) -> None:
    """Wait for the other process beyond the time-out, and write the tar files that both agree on."""
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/meeting',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=TIMEOUT),
    )
    others = patient_group()
    time.sleep(rank * 2 * TIMEOUT)
    dist.barrier(others)
    urls = agreed_urls(f'{folder}/of_{rank}/*.tar')
    Path(folder, f'found_{rank}').write_text('\n'.join(urls))
