"""What AiiDA's workchains that restart jobs lack where their own process is killed."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import BaseRestartWorkChain


class ResumableRestartWorkChain(BaseRestartWorkChain):
    """Ends as if nothing had been, where a daemon's worker was killed while it handed over the outputs.

    AiiDA links the outputs and then writes the checkpoint. A process that goes on from the checkpoint before it passes
    over outputs that are linked already (aiida-core 2.9.4): it knows of none when it checks what it must have, and
    fails with exit code 11.
    """

    def _attach_outputs(self, node: orm.CalcJobNode) -> Mapping[str, orm.Node]:
        for link in self.node.base.links.get_outgoing(link_type=LinkType.RETURN).all():
            self.out(link.link_label.replace("__", "."), link.node)
        attached: Mapping[str, orm.Node] = super()._attach_outputs(node)
        return attached
