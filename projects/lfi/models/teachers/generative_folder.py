"""The folder of a generative VLM of transformers: which one is meant, and what may be in it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

GENERATIVE = 'transformers:'
"""How the names of transformers' models begin."""
FILES = {
    'config': ('config.json',),
    'preprocessing': ('preprocessor_config.json', 'processor_config.json'),
    'tokenizer': ('tokenizer.json', 'tokenizer.model', 'vocab.json'),
}
"""What a folder must hold of each beside weights, one of them."""
PROCESSOR_FILES = ('tokenizer_config.json', 'processor_config.json', 'audio_tokenizer_config.json')
"""What says of which parts a processor is made."""
_NAME = re.compile(r'(\w[\w.-]*/)?\w[\w.-]*')


def generative_folder(model: str) -> Path | None:
    """The folder that 'transformers:...' stands for; None for a name that transformers fetches.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it could be a name as well, or brings code that transformers would run.
    """
    name = model.removeprefix(GENERATIVE)
    path = Path(name).expanduser()
    if path.exists() and _NAME.fullmatch(name):
        # Someone else's student names its teacher so, and means none of these files.
        raise ValueError(
            f'model={model!r} is a name that transformers fetches, and the folder {Path.cwd()} has one of '
            f"this name: give the folder as '{GENERATIVE}./{name}', or start lfi in another one"
        )
    if path.is_dir():
        refuse_what_leads_elsewhere(path)
        return path
    if name.count('/') <= 1 and name[:1] not in ('.', '/', '~'):
        return None
    raise FileNotFoundError(f'teacher folder not found: {path}')


def refuse_what_leads_elsewhere(folder: Path) -> None:
    """Refuse a folder with code that transformers would run, or whose files name others.

    Raises:
        ValueError: for the first of them.
    """
    if (folder / 'custom_generate').exists():
        raise ValueError(
            f'{folder / "custom_generate"} is code, which transformers would run; nothing was read. If the '
            'weights are sound, remove it'
        )
    if (folder / 'adapter_config.json').exists():
        raise ValueError(
            f'{folder} holds an adapter, whose model is elsewhere: merge the two by '
            "peft's merge_and_unload, and save what comes of it"
        )
    for path in folder.glob('*.index.json'):
        files = _content(path).get('weight_map')
        if not isinstance(files, dict) or any(Path(str(name)).name != name for name in files.values()):
            raise ValueError(f'{path} must have a weight_map whose files are beside it')
    for path in (folder / name for name in PROCESSOR_FILES):
        content = _content(path) if path.is_file() else {}
        leads = [key for key, value in content.items() if _leads_elsewhere(key, value, folder)]
        if leads:
            raise ValueError(f'{path} names other files by {", ".join(leads)}: remove them')


def _leads_elsewhere(key: str, value: Any, folder: Path) -> bool:
    """Whether an entry of a processor's config has it read what is not in the folder."""
    if key.startswith('audio_tokenizer'):
        return value is not None
    # Of another machine's files nothing is read.
    named = Path(value) if key.endswith('_file') and isinstance(value, str) else None
    return named is not None and named.name != value and named.exists() and named.parent != folder


def fetch_processor_files(name: str) -> Path | None:
    """The folder of a repository's files that say how its processor is made; None if it has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    folder = None
    for file in PROCESSOR_FILES:
        with suppress(EntryNotFoundError):
            folder = Path(hf_hub_download(name, file)).parent
    return folder


def _content(path: Path) -> dict[str, Any]:
    """The object in a file of JSON; empty where it holds none, which is told by who reads it."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def has_weights(folder: Path, allow_random: bool) -> bool:
    """Whether a folder has weights.

    Args:
        folder: of a generative VLM.
        allow_random: whether it may have none.

    Raises:
        FileNotFoundError: for what else it lacks, or for the weights.
    """
    for what, files in FILES.items():
        if not any((folder / file).is_file() for file in files):
            raise FileNotFoundError(f'teacher folder {folder} has no {what}: {" or ".join(files)}')
    found = any(path.suffix in ('.safetensors', '.bin') for path in folder.iterdir())
    if not found and not allow_random:
        raise FileNotFoundError(
            f'teacher folder {folder} has no weights (*.safetensors or *.bin); random weights need '
            'allow_random=True'
        )
    return found
