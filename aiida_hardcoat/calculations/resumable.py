"""What AiiDA's jobs lack where their own process is killed."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from aiida.common.datastructures import CalcJobState
from aiida.engine import CalcJob
from aiida.orm import RemoteData
from plumpy.persistence import LoadSaveContext

FOLDER = "remote_folder"


class ResumableCalcJob(CalcJob):
    """Hands over its remote folder, also where a daemon's worker was killed at the end of the upload.

    AiiDA notes that the files are uploaded, and links their folder a moment later. A job that goes on from between the
    two passes over the upload (aiida-core 2.9.4) and ends well, but without the folder, and what called it fails.
    """

    def load_instance_state(self, saved_state: MutableMapping[str, Any], load_context: LoadSaveContext) -> None:
        super().load_instance_state(saved_state, load_context)
        # The state that AiiDA gives to a job between upload and submission.
        if self.node.get_state() == CalcJobState.UNSTASHING and FOLDER not in self.outputs:
            link = self.node.base.links.get_outgoing(link_label_filter=FOLDER).first()
            folder = RemoteData(computer=self.node.computer, remote_path=self.node.get_remote_workdir())
            self.out(FOLDER, folder if link is None else link.node)
