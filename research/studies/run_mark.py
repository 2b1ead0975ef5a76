"""Mark of a run of a study in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend


@dataclass(frozen=True)
class RunMark:
    """File with the settings of a run and, once it is finished, its result.

    Args:
        path: path of the file in the folder of the run.
        identity: digest of the settings by `settings_digest`.
    """

    path: Path
    identity: str

    def read(self) -> dict:
        """Return the content of the mark; empty if the file is missing or incomplete.

        Raises:
            UsageError: if the run was started with other settings.
        """
        try:
            content = json.loads(self.path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        if content['identity'] != self.identity:
            raise UsageError(
                f'{self.path.parent} was started with other settings: remove it, or choose another folder'
            )
        return content

    def write(self, **content: object) -> None:
        """Replace the content of the mark."""
        AtomicLocalBackend().put_text(json.dumps(dict(identity=self.identity, **content)), self.path)
