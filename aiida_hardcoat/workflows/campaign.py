"""Many alloys, some of them at a time."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder
from aiida.engine.processes.workchains.workchain import WorkChainSpec, while_
from plumpy import ProcessState

from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, CatalogueGroup, catalogue, find_equal
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.engines import DEFAULT
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.workflows import elastic, relax
from aiida_hardcoat.workflows.alloy import AlloyWorkChain, check_alloy
from aiida_hardcoat.workflows.known_runs import (
    FAILED,
    FINISHED,
    RUNNING,
    alloy_digest,
    end_lost_runs,
    is_alive,
    known_runs,
    mark_runs,
    one_at_a_time,
)
from aiida_hardcoat.workflows.protocols import load_protocol, share_engine_settings
from aiida_hardcoat.workflows.relax import check_code, reason_of, validate_engine
from aiida_hardcoat.workflows.rolling import RollingWorkChain

LOOK_SECONDS = 60
"""How often the run of another process is looked at."""


def validate_campaign(inputs: dict[str, Any], _: Any) -> str | None:
    relaxation, strains = inputs["relaxation"].get_dict(), inputs["strains"].get_dict()
    for alloy in inputs["alloys"].get_list():
        try:
            check_alloy(alloy["sqs"], relaxation, strains, inputs["engine"].value, alloy["ions"])
        except InputError as error:
            return str(error)
        except (KeyError, TypeError) as error:
            return f"an alloy, or the settings, lack {error}"
    return None


class CampaignWorkChain(RollingWorkChain):
    """Bring many alloys into the catalogue, so many at a time; the failure of one does not stop the others.

    An alloy that was finished before is taken as it is, one that another process computes is waited for. So a campaign
    that was stopped is gone on with by running it again, and two that share alloys compute each of them once.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input("alloys", valid_type=orm.List, help="`sqs` and `ions` of each, in the order in which they begin.")
        spec.input("relaxation", valid_type=orm.Dict, help="`relaxation` of the protocol.")
        spec.input("strains", valid_type=orm.Dict, help="`strains` of the protocol.")
        spec.input("engine", valid_type=orm.Str, validator=validate_engine, help="Engine and model: `ase:7net-l3i5`.")
        spec.input("code", valid_type=orm.AbstractCode, help="The code that the engine runs.")
        # As metadata they are kept with the node, from which a retry takes them.
        kept: dict[str, Any] = {"non_db": True, "is_metadata": True}
        spec.input("options", valid_type=dict, default=dict, help="Options of the jobs.", **kept)
        spec.input("catalogue", valid_type=str, default=DEFAULT_LABEL, help="Label of the group.", **kept)
        spec.input("alloys_at_once", valid_type=int, default=1, help="Alloys in flight, at most.", **kept)
        spec.input("jobs_at_once", valid_type=int, default=0, help="Jobs in flight; 0: no limit.", **kept)
        spec.input("retry", valid_type=bool, non_db=True, default=False, help="Run again what failed before, too.")
        spec.inputs.validator = validate_campaign
        spec.outline(
            cls.look_for_finished,
            while_(cls.has_unfinished)(cls.submit_alloys, cls.inspect_alloys),
            cls.results,
        )
        spec.output_namespace("entries", valid_type=ElasticData, dynamic=True, help="The entry of each alloy.")
        spec.exit_code(
            401,
            "ERROR_ALLOYS_FAILED",
            message="{failed} of {asked} alloys failed, the others are in the catalogue: `hardcoat campaign status`"
            " names each with its remedy",
        )

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        alloys: Sequence[dict[str, Any]],
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        *,
        engine: str = DEFAULT,
    ) -> ProcessBuilder:
        """A builder with everything that the protocol says.

        :param alloys: ``composition``, ``structure_type``, ``ions`` and ``seed`` of each, in their order.
        :param overrides: nested like the protocol: ``sqs``, ``relaxation``, ``strains``; ``engine`` stands for the
            engine's settings of both.
        :raises InputError: for the first alloy, protocol, engine or override key that cannot be.
        """
        overrides = copy.deepcopy(overrides or {})
        share_engine_settings(overrides)
        settings = load_protocol(protocol, overrides, engine)
        builder = cls.get_builder()
        builder.relaxation = orm.Dict(settings["relaxation"])
        builder.strains = orm.Dict(settings["strains"])
        chosen = []
        elements: set[str] = set()
        for alloy in alloys:
            composition = parse_composition(alloy["composition"])
            search = {**settings["sqs"], "seed": alloy.get("seed", settings["sqs"]["seed"])}
            sqs = {"composition": composition.formula, "structure_type": alloy["structure_type"], **search}
            check_alloy(sqs, settings["relaxation"], settings["strains"], engine, alloy["ions"])
            chosen.append({"sqs": sqs, "ions": alloy["ions"]})
            elements |= set(composition.elements)
        for part in (relax.engine_settings(settings["relaxation"]), elastic.engine_settings(settings["strains"])):
            check_code(engine, code, elements, part)
        builder.alloys = orm.List(chosen)
        builder.engine = orm.Str(engine)
        builder.code = code
        builder.options = options or {}
        return builder

    def look_for_finished(self) -> None:
        """Sort the alloys into finished, failed before, and to do."""
        mark_runs()
        end_lost_runs()
        self.ctx.digests = digests_of(self.inputs)
        known = known_runs(self.ctx.digests)
        settled = (FINISHED,) if self.inputs.retry else (FINISHED, FAILED)
        self.ctx.waiting, self.ctx.running, self.ctx.finished, self.ctx.failed = [], {}, {}, {}
        for index, digest in enumerate(self.ctx.digests):
            if digest not in known or known[digest][0] not in settled:
                self.ctx.waiting.append(index)
                continue
            state, run = known[digest]
            (self.ctx.finished if state == FINISHED else self.ctx.failed)[index] = run.pk
        if self.ctx.finished:
            self.report(f"{len(self.ctx.finished)} of {len(self.ctx.digests)} alloys were finished before")

    def has_unfinished(self) -> bool:
        return bool(self.ctx.waiting or self.ctx.running)

    def submit_alloys(self) -> None:
        """Fill up to as many as may be in flight, and wait for the first that ends."""
        while self.ctx.waiting and len(self.ctx.running) < self.inputs.alloys_at_once:
            index = self.ctx.waiting[0]
            with one_at_a_time():
                run = self.known_run(index) or self.submit(self.alloy_builder(index))
            self.ctx.running[index] = run.pk
            self.ctx.waiting.pop(0)
        self.await_first(self.ctx.running)
        if not all(self.began(orm.load_node(pk)) for pk in self.ctx.running.values()):
            self.runner.loop.call_later(LOOK_SECONDS, self.look_again)

    def look_again(self) -> None:
        """The run of another process may have lost that process, which nobody would tell."""
        if self.state == ProcessState.WAITING:
            self.resume()

    def known_run(self, index: int) -> orm.WorkChainNode | None:
        """A run of the same alloy that has finished meanwhile, goes on elsewhere, or was begun here.

        The last is so after a daemon's worker was killed between beginning a run and keeping a note of it.
        """
        state, run = known_runs([self.ctx.digests[index]]).get(self.ctx.digests[index], (None, None))
        return run if run is not None and (state in (FINISHED, RUNNING) or self.began(run)) else None

    def alloy_builder(self, index: int) -> Any:
        alloy = self.inputs.alloys[index]
        builder: Any = AlloyWorkChain.get_builder()
        builder.sqs = orm.Dict(alloy["sqs"])
        builder.ions = orm.Str(alloy["ions"])
        for name in ("relaxation", "strains", "engine", "code", "options", "catalogue"):
            builder[name] = self.inputs[name]
        if self.inputs.jobs_at_once:
            builder.jobs_at_once = max(1, self.inputs.jobs_at_once // self.inputs.alloys_at_once)
        builder.metadata.label = label_of(alloy)
        builder.metadata.call_link_label = link_of(index, alloy)
        return builder

    def inspect_alloys(self) -> None:
        """Keep what has ended, well or not; what was stopped elsewhere is run here."""
        for index, pk in list(self.ctx.running.items()):
            run = orm.load_node(pk)
            if not run.is_terminated and is_alive(run):
                continue
            del self.ctx.running[index]
            if run.is_finished_ok:
                self.ctx.finished[index] = pk
            elif run.is_finished or self.began(run):
                self.ctx.failed[index] = pk
                self.report(f"{label_of(self.inputs.alloys[index])} failed: {reason_of(run)}")
            else:
                end_lost_runs()
                self.ctx.waiting.append(index)

    def began(self, run: orm.ProcessNode) -> bool:
        return run.caller is not None and run.caller.pk == self.node.pk

    def results(self) -> ExitCode | None:
        """Hand over the entries. They and their predictions are members of the catalogue, also where a run for another
        catalogue has made them."""
        group = catalogue(self.inputs.catalogue)
        alloys = self.inputs.alloys.get_list()
        members, made = group.member_pks(), made_by(self.ctx.finished.values())
        for index, pk in sorted(self.ctx.finished.items()):
            entry = made[pk]["entry"]
            if entry.pk in members or find_equal(group, entry) is None:
                group.add_nodes([node for node in made[pk].values() if node.pk not in members])
            self.out(f"entries.{link_of(index, alloys[index])}", entry)
        if self.ctx.failed:
            return self.exit_codes.ERROR_ALLOYS_FAILED.format(failed=len(self.ctx.failed), asked=len(alloys))
        return None


def made_by(runs: Iterable[int]) -> dict[int, dict[str, orm.Node]]:
    """The entry of each finished run and, where there is one, its prediction: by primary key, then by output."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": {"in": list(runs)}}, tag="run", project="id")
    query.append(CatalogueGroup.allowed_types, with_incoming="run", project="*", edge_project="label")
    made: dict[int, dict[str, orm.Node]] = defaultdict(dict)
    for run, node, output in query.iterall():
        made[run][output] = node
    return made


def digests_of(inputs: Any) -> list[str]:
    """The digest of each alloy, from the inputs of a campaign: of its process, its node or its builder."""
    relaxation, strains = inputs.relaxation.get_dict(), inputs.strains.get_dict()
    engine = inputs.engine.value
    return [alloy_digest(one["sqs"], relaxation, strains, engine, one["ions"]) for one in inputs.alloys.get_list()]


def label_of(alloy: dict[str, Any]) -> str:
    """What a person calls an alloy of a campaign: ``B1 Al0.5Ti0.5N relaxed``, with its seed where it is not 0."""
    sqs = alloy["sqs"]
    seed = f" seed {sqs['seed']}" if sqs["seed"] else ""
    return f"{sqs['structure_type']} {sqs['composition']} {alloy['ions']}{seed}"


def link_of(index: int, alloy: dict[str, Any]) -> str:
    """The same as AiiDA allows it for links, and unique in the campaign: ``B1_Al0p5Ti0p5N_relaxed_7``."""
    name = label_of(alloy).replace(".", "p")
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{name} {index}")
