"""Campaigns: so many alloys at a time, failures that do not stop the others, nothing computed twice."""

import json

import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import PAIR, QUICK_RELAXATION, QUICK_STRAINS
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.campaigns.progress import Progress, find_campaign
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.workflows.alloy import AlloyWorkChain
from aiida_hardcoat.workflows.campaign import CampaignWorkChain
from aiida_hardcoat.workflows.known_runs import (
    RUNNER,
    STOPPED,
    alloy_digest,
    digest_of,
    end_lost_runs,
    is_alive,
    known_runs,
    mark_runs,
    this_process,
)
from aiida_hardcoat.workflows.launch import run

pytestmark = pytest.mark.jobs

OVERRIDES = {"sqs": {"atoms": 8, "restarts": 1, "steps": 10}, "relaxation": QUICK_RELAXATION, "strains": QUICK_STRAINS}


def alloy(composition, ions="clamped", seed=0):
    return {"composition": composition, "structure_type": "B1", "ions": ions, "seed": seed}


def campaign_builder(code, alloys, label, **choices):
    builder = CampaignWorkChain.get_builder_from_protocol(code, alloys, "fast", OVERRIDES, engine=PAIR)
    builder.catalogue = label
    builder.metadata.label = label
    for name, value in choices.items():
        builder[name] = value
    return builder


def count(process):
    return orm.QueryBuilder().append(process).count()


def runs_of(campaign):
    return sorted((link.node for link in campaign.base.links.get_outgoing().all()), key=lambda node: node.pk)


@pytest.fixture(scope="module")
def campaign(code):
    """Three alloys that can be computed, and one for whose metal the potential has no parameters, two at a time."""
    alloys = [alloy("TiN", "relaxed"), alloy("ScN"), alloy("Ti0.5Al0.5N"), alloy("AlN", seed=5)]
    seen = []

    def look(processes):
        live = [one for one in processes if isinstance(one, AlloyWorkChain) and not one.has_terminated()]
        seen.append(len(live))

    builder = campaign_builder(code, alloys, "two at a time", alloys_at_once=2)
    node = run(builder, lambda line: None, look=look)
    node.seen = seen
    return node


def test_what_can_be_computed_is_in_the_catalogue_and_what_failed_is_said(campaign):
    assert campaign.exit_status == CampaignWorkChain.exit_codes.ERROR_ALLOYS_FAILED.status
    assert "1 of 4" in campaign.exit_message
    entries = {
        link.link_label: link.node for link in campaign.base.links.get_outgoing(link_label_filter="entries%").all()
    }
    assert {entry.formula for entry in entries.values()} == {"TiN", "Al0.5Ti0.5N", "AlN"}
    assert {entry.pk for entry in entries.values()} == {entry.pk for entry in catalogue("two at a time").entries()}
    assert any("B1_Al0p5Ti0p5N_clamped" in label for label in entries)


def test_never_more_at_a_time_than_asked_for_and_the_next_begins_when_one_ends(campaign):
    assert max(campaign.seen) == 2
    runs = sorted(
        (node for node in campaign.called if node.process_label == "AlloyWorkChain"), key=lambda node: node.pk
    )
    assert [node.inputs.sqs["composition"] for node in runs] == ["TiN", "ScN", "Al0.5Ti0.5N", "AlN"]
    assert runs[2].ctime < runs[0].mtime  # not only when the whole first pair had ended
    for earlier, later in zip(runs, runs[2:], strict=False):
        assert any(node.mtime <= later.ctime for node in runs if node.pk < later.pk), (earlier, later)


def test_status_names_the_failure_with_its_code_and_remedy(campaign):
    result = CliRunner().invoke(cmd_root, ["campaign", "status", "two at a time", "--format", "json"])
    assert result.exit_code == 1
    status = json.loads(result.stdout)
    assert status["counts"] == {"finished": 3, "running": 0, "failed": 1, "stopped": 0, "waiting": 0}
    (failed,) = [row for row in status["rows"] if row["state"] == "failed"]
    assert failed["alloy"] == "B1 ScN clamped"
    assert failed["exit_code"] == "AseCalculation 312"
    assert "Sc" in failed["message"]
    assert failed["prediction"] is None
    entries, predictions = ([row[kind] for row in status["rows"] if row[kind]] for kind in ("entry", "prediction"))
    assert set(entries + predictions) == catalogue("two at a time").member_pks()
    assert "model_options" in failed["remedy"]
    assert status["per_hour"] > 0
    text = CliRunner().invoke(cmd_root, ["campaign", "status", "two at a time"]).stdout
    assert "3 finished, 1 failed of 4" in text
    assert "->" in text
    assert "learned" not in text


def test_status_tells_where_learned_moduli_are_missing(code, monkeypatch):
    def fail(*arguments):
        raise InputError("the model cannot be had")

    monkeypatch.setattr("aiida_hardcoat.workflows.alloy.predict_entry", fail)
    run(campaign_builder(code, [alloy("TiN", seed=9)], "nothing learned"), lambda line: None)
    result = CliRunner().invoke(cmd_root, ["campaign", "status", "nothing learned"])
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if "learned moduli" in line]
    node = orm.load_node(int(line.split("report ")[1].split("`")[0]))
    assert line.startswith("1 without")
    assert "the model cannot be had" in orm.Log.collection.get_logs_for(node)[0].message


def test_the_same_campaign_again_computes_nothing(campaign, code):
    alloys = [alloy("TiN", "relaxed"), alloy("ScN"), alloy("Ti0.5Al0.5N"), alloy("AlN", seed=5)]
    before = [count(kind) for kind in (orm.CalcJobNode, orm.CalcFunctionNode)]
    again = run(campaign_builder(code, alloys, "another catalogue"), lambda line: None)
    assert [count(kind) for kind in (orm.CalcJobNode, orm.CalcFunctionNode)] == before
    assert not again.called
    assert again.exit_status == campaign.exit_status
    assert catalogue("another catalogue").count_entries() == 3
    # The learned moduli come along.
    assert catalogue("another catalogue").member_pks() == catalogue("two at a time").member_pks()
    assert len(catalogue("another catalogue").member_pks()) == 6
    progress = Progress(again)
    progress.look()
    assert [row["found"] for row in progress.rows()] == [True, False, True, True]


def test_retry_runs_what_failed_alone(campaign, code):
    alloys = [alloy("TiN", "relaxed"), alloy("ScN")]
    again = run(campaign_builder(code, alloys, "two at a time", retry=True), lambda line: None)
    assert [node.inputs.sqs["composition"] for node in again.called] == ["ScN"]
    assert "1 of 2" in again.exit_message


def test_a_run_from_elsewhere_is_found_without_its_mark(campaign):
    node = next(node for node in campaign.called if node.is_finished_ok)
    digest = digest_of(node)
    assert known_runs([digest])[digest][1].pk == node.pk
    node.base.extras.clear()
    assert known_runs([digest]) == {}
    mark_runs()
    assert known_runs([digest])[digest][1].pk == node.pk


def test_a_process_that_lost_its_interpreter_was_stopped(campaign):
    # As a power cut leaves it.
    node = orm.WorkChainNode(process_type="aiida.workflows:hardcoat.alloy")
    node.set_process_state("waiting")
    node.store()
    assert is_alive(node)  # the daemon's
    node.base.extras.set(RUNNER, this_process())
    assert is_alive(node)
    node.base.extras.set(RUNNER, {**this_process(), "started": 0.0})  # the number was given to another process
    assert not is_alive(node)
    node.base.extras.set(RUNNER, {**this_process(), "pid": 2**22 + 1})
    assert not is_alive(node)
    node.base.extras.set("hardcoat_alloy", "lost")
    assert known_runs(["lost"])["lost"][0] == STOPPED
    end_lost_runs()
    assert node.is_killed
    assert node.is_sealed
    assert known_runs(["lost"])["lost"][0] == STOPPED


numbers = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6))
settings = st.dictionaries(st.text(max_size=5), st.one_of(numbers, st.lists(numbers), st.booleans(), st.text()))


@given(settings=settings)
def test_the_same_alloy_has_the_same_digest_however_numbers_are_kept(settings):
    def kept(value):
        if isinstance(value, list):
            return tuple(kept(item) for item in value)
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    other = {key: kept(value) for key, value in reversed(settings.items())}
    assert alloy_digest(settings, {}, {}, "ase", "relaxed") == alloy_digest(other, {}, {}, "ase", "relaxed")
    assert alloy_digest(settings, {}, {}, "ase", "relaxed") != alloy_digest(settings, {}, {}, "ase", "clamped")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.yaml",), "study"),
        (("status", "nobody"), "no campaign 'nobody'"),
        (("retry", "nobody"), "no campaign 'nobody'"),
    ],
)
def test_mistakes_are_one_line(campaign, arguments, words):
    result = CliRunner().invoke(cmd_root, ["campaign", *arguments])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert words in line


def test_an_alloy_that_cannot_be_refuses_the_whole_before_anything_is_stored(code, tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text("name: odd\nsystems: [Al-Ti-N]\nx: [0, 1/2, 1/5]\nstructure_types: [B1]\n")
    before = count(orm.Node)
    result = CliRunner().invoke(cmd_root, ["campaign", str(path)])
    assert result.exit_code == 2
    assert "48 metal sites" in result.stderr
    assert count(orm.Node) == before


def test_dry_run_tells_what_is_there_and_stores_nothing(campaign, code, tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text("name: plan\nsystems: [Al-Ti-N]\nstructure_types: [B1]\n")
    before = count(orm.Node)
    result = CliRunner().invoke(cmd_root, ["campaign", str(path), "--dry-run", "--format", "json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)[0]["alloy"] == "B1 TiN relaxed"
    assert count(orm.Node) == before


def test_the_newest_campaign_is_meant_where_none_is_named(campaign):
    assert find_campaign().pk == max(
        node.pk
        for (node,) in orm.QueryBuilder()
        .append(orm.WorkChainNode, filters={"process_type": "aiida.workflows:hardcoat.campaign"})
        .all()
    )
