"""Which code a label means."""

import pytest

from aiida_hardcoat.engines.codes import find_code
from aiida_hardcoat.errors import InputError


@pytest.fixture
def make_code(aiida_profile, tmp_path):
    """A function that makes a code of the label `twin` on a computer of its own."""
    from aiida.orm import Computer, InstalledCode

    def make(computer_label, configured):
        computer = Computer(
            label=computer_label,
            hostname="localhost",
            workdir=str(tmp_path),
            transport_type="core.local",
            scheduler_type="core.direct",
        ).store()
        if configured:
            computer.configure(safe_interval=0)
        return InstalledCode(label="twin", computer=computer, filepath_executable="/bin/true").store()

    return make


def test_a_code_that_came_with_an_import_is_no_choice(make_code):
    """AiiDA imports computers without a user's settings for them: nothing can run there."""
    assert find_code("twin") is None
    mine, _ = make_code("mine", True), make_code("theirs", False)
    assert find_code("twin").uuid == mine.uuid
    assert find_code("twin@theirs").computer.label == "theirs"
    make_code("other", True)
    with pytest.raises(InputError, match="choose one with --code twin@COMPUTER"):
        find_code("twin")
