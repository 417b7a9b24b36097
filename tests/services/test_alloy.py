"""One alloy through PostgreSQL, RabbitMQ, two daemon workers, SSH and Slurm, with the real engine."""

import json
import re
from pathlib import Path

import pytest

from services.places import ENTRY, doctor

pytestmark = pytest.mark.services

JOBS = """
from aiida.orm import CalcJobNode, QueryBuilder
jobs = QueryBuilder().append(CalcJobNode).order_by({CalcJobNode: "id"}).all(flat=True)
answer = [
    {
        "job": job.get_job_id(),
        "folder": job.get_remote_workdir(),
        "transport": job.computer.transport_type,
        "scheduler": job.computer.scheduler_type,
        "exit": job.exit_status,
        "task": job.inputs.settings["task"],
        "label": job.process_label,
        "executed": not job.base.caching.is_created_from_cache,
    }
    for job in jobs
]"""


def slurm_records(services):
    """What Slurm says of the jobs that have ended, by number."""
    lines = (services.state() / "slurm" / "finished-jobs").read_text().splitlines()
    records = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines]
    return {record["JobId"]: record for record in records}


def test_the_entry_is_the_one_that_this_machine_computes_in_one_process(alloy, server, embedded):
    """To the last digit: the same program, as many threads, the same machine."""
    there, here = server.ask(ENTRY), embedded.ask(ENTRY, "hardcoat")
    assert there["fingerprint"] == here["fingerprint"]
    assert there["fields"]["tensor_fitted"] == here["fields"]["tensor_fitted"]
    assert there["fields"]["level"] == "ase:7net-l3i5"
    assert there["fields"]["level_fingerprint"] == here["fields"]["level_fingerprint"]
    assert 200 < there["fields"]["bulk_modulus"] < 350


def test_every_job_ran_once_under_slurm_over_ssh(alloy, server, services):
    jobs, records = server.ask(JOBS), slurm_records(services)
    assert {job["task"] for job in jobs} == {"relax", "relax_ions"}
    assert len({job["job"] for job in jobs}) == len(jobs) == len(records)
    for job in jobs:
        assert (job["transport"], job["scheduler"]) == ("core.ssh_async", "core.slurm")
        assert (job["exit"], job["executed"]) == (0, True)
        record = records[job["job"]]
        assert (record["JobState"], record["WorkDir"]) == ("COMPLETED", job["folder"])
        assert "mem=0" not in record["Tres"]
        folder = Path(job["folder"])
        assert folder.is_relative_to(server.work)
        # What makes a second execution of the job harmless.
        assert (folder / ".hc_done").exists()
        script = (folder / "_aiidasubmit.sh").read_text()
        commands = [line for line in script.splitlines() if line and not line.startswith("#")]
        assert script.index("#SBATCH --dependency=singleton") < script.index(commands[0])
        assert commands[0] == "[ -e .hc_done ] && exit 0"


def test_a_job_that_is_submitted_again_does_nothing(alloy, server, services):
    """After a crash AiiDA may submit a job that it has submitted before."""
    folder = Path(server.ask(JOBS)[0]["folder"])
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    number = services.slurm("sbatch", "--parsable", f"--chdir={folder}", str(folder / "_aiidasubmit.sh")).strip()
    services.wait_for(lambda: number in slurm_records(services), "the job does not end")
    assert slurm_records(services)[number]["JobState"] == "COMPLETED"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_the_entry_leads_back_to_the_jobs_and_the_structure(alloy, server):
    program = f"""
entry = orm.load_node({alloy}).outputs.entry
node = {{"filters": {{"id": entry.pk}}, "tag": "entry"}}
makers = orm.QueryBuilder().append(orm.Node, **node)
makers.append(orm.ProcessNode, with_descendants="entry", project=["id", "attributes.process_label"])
groups = orm.QueryBuilder().append(orm.Node, **node).append(orm.Group, with_node="entry", project="label")
answer = [[label for _, label in {{tuple(row) for row in makers.all()}}], groups.all(flat=True)]"""
    labels, groups = server.ask(program)
    assert {"generate_sqs", "elastic_entry", "AseCalculation"} <= set(labels)
    assert labels.count("AseCalculation") == 2
    assert groups == ["catalogue"]


def test_nothing_is_left_in_the_queue_and_doctor_finds_nothing_wrong(alloy, server, services):
    asked = ("list_queues", "-p", services.NAME, "name", "messages", "--formatter=json")
    queues = json.loads(services.rabbitmqctl(*asked))
    assert [queue["messages"] for queue in queues if queue["name"].endswith("process.queue")] == [0]
    words = ("storage", "broker", "consumer", "private", "daemon", "workers", "computer", "processes")
    rows, status = doctor(server, *words)
    assert {row["what"] for row in rows if not row["ok"]} == set()
    assert {"storage", "storage exposed", "broker", "broker guest", "consumer_timeout"} <= {row["what"] for row in rows}
    assert [row["detail"].split()[0] for row in rows if row["what"] == "workers"] == ["2"]
    assert status == 0
