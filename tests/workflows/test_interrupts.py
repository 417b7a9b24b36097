"""What a run in a terminal does with Ctrl-C."""

import os
import signal

from aiida import orm
from aiida.engine import ToContext, WorkChain, calcfunction

from aiida_hardcoat.workflows.launch import run


@calcfunction
def interrupted(number):
    """Ctrl-C comes while AiiDA works for a calcfunction."""
    os.kill(os.getpid(), signal.SIGINT)
    return orm.Int(number.value + 1)


class Child(WorkChain):
    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.rest)

    def rest(self):
        """Nothing."""


class Steps(WorkChain):
    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.compute, cls.wait, cls.results)
        spec.output("number", valid_type=orm.Int)

    def compute(self):
        self.ctx.number = interrupted(orm.Int(1))

    def wait(self):
        return ToContext(child=self.submit(Child))

    def results(self):
        self.out("number", self.ctx.number)


def test_a_calcfunction_is_finished_before_ctrl_c_ends_the_run():
    """AiiDA's handler of signals, which a calcfunction sets in a terminal, writes to the database at any moment."""
    lines = []
    handler = signal.getsignal(signal.SIGINT)
    node = run(Steps.get_builder(), lines.append)
    computed = node.called[0]
    assert computed.is_finished_ok
    assert computed.outputs.result == 2
    assert node.is_killed
    assert [line.split(":")[0] for line in lines] == ["interrupted"]
    assert signal.getsignal(signal.SIGINT) is handler
