"""The download, by the real client mp-api from a stand-in for the Materials Project's server on the loopback device."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pymatgen.core
import pytest
from click.testing import CliRunner
from emmet.core.elasticity import ElasticityDoc
from emmet.core.mpid import AlphaID
from mp_api.client.core.settings import MAPI_CLIENT_SETTINGS
from mp_api.client.routes.materials.elasticity import ElasticityRester
from pymatgen.core import Lattice, Structure

from aiida_hardcoat.cli.ml_fetch import cmd_fetch
from hardcoat_ml import fetch as module
from hardcoat_ml.data import AVERAGES, load_entries
from hardcoat_ml.errors import InputError
from hardcoat_ml.fetch import Filters, fetch

KEY = "0123456789abcdefSECRETSECRETabcd"
VERSION = "2030.01.01"
ALL = Filters()
METALS = ("Sc", "Ti", "V", "Cr", "Mn", "Y", "Zr", "Nb", "Mo", "Hf")


class Server(ThreadingHTTPServer):
    """A stand-in for api.materialsproject.org: its heartbeat and its elasticity route, with faults to order."""

    daemon_threads = True

    def __init__(self, documents: list[dict]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.documents = documents
        self.version = VERSION
        self.heeds_ids = True
        self.requests: list[list[str]] = []
        """Ids asked for, of each request that asked for some."""
        self.fault: Callable[[int], int | None] = lambda _: None
        """From the number of such requests to a status to answer with; 0 breaks the connection."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        """A broken connection is meant."""


class Handler(BaseHTTPRequestHandler):
    """One request to the stand-in."""

    server: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/heartbeat":
            self.answer(
                200, {"db_version": self.server.version, "version": "0.87.0", "access_controlled_batch_ids": []}
            )
        elif self.headers.get("x-api-key") != KEY:
            self.answer(401, {"message": "Invalid authentication credentials"})
        elif url.path == "/materials/elasticity/":
            self.elasticity(query)
        else:
            self.answer(404, {"detail": "Not Found"})

    def elasticity(self, query: dict[str, str]) -> None:
        found = self.server.documents
        if "material_ids" in query:
            asked = query["material_ids"].split(",")
            if (status := self.server.fault(len(self.server.requests))) is not None:
                if status:
                    self.answer(status, {"detail": f"fault {status}"})
                else:
                    self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n{")  # and no more
                return
            self.server.requests.append(asked)
            if self.server.heeds_ids:
                found = [document for document in found if document["material_id"] in asked]
        start, limit = int(query.get("_skip", 0)), int(query.get("_limit", 100))
        fields = query["_fields"].split(",") if "_fields" in query else ["material_id"]
        page = [{name: document.get(name) for name in fields} for document in found[start : start + limit]]
        self.answer(200, {"data": page, "meta": {"total_doc": len(found)}})

    def answer(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def nitride(metal: str, number: int, **changes) -> dict:
    """A document of a mononitride as the server sends it; the moduli are made up."""
    structure = Structure(Lattice.cubic(4.2 + number / 100).scale(20.0 + number), [metal, "N"], [[0] * 3, [0.5] * 3])
    tensor = np.diag([500.0] * 3 + [150.0] * 3 + np.zeros(6))
    tensor[:3, :3] += 100.25
    document = {
        "material_id": f"mp-{100 + number}",
        "deprecated": False,
        "state": "successful",
        "structure": structure.as_dict(),
        "symmetry": {"number": 221, "symbol": "Pm-3m"},
        "elastic_tensor": {"raw": tensor.tolist(), "ieee_format": np.round(tensor).tolist()},
        "bulk_modulus": {"voigt": 266.917, "reuss": 266.917, "vrh": 266.917 + number},
        "shear_modulus": {"voigt": 190.0, "reuss": 184.0, "vrh": 187.0},
        "fitting_method": "finite_difference",
        "warnings": ["a warning"] if number == 0 else [],
    }
    return document | changes


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    """Ten good documents; three materials a chunk and four a page of the listing."""
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(module, "PAGE", 4)
    # The client works these out anew for every field of every request, which takes most of a test's time.
    monkeypatch.setattr(ElasticityRester, "available_fields", list(ElasticityDoc.model_fields))
    served = Server([nitride(metal, number) for number, metal in enumerate(METALS)])
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "data.jsonl.xz"


def part_of(output: Path) -> Path:
    return output.with_name(output.name + ".part")


def refused(output: Path, server: Server, filters: Filters = ALL) -> str:
    """The one line of a download that fails, which leaves no output and tells no key."""
    with pytest.raises(InputError) as error:
        fetch(output, filters, endpoint=server.url)
    text = str(error.value)
    assert "\n" not in text
    assert "SECRET" not in text
    assert not output.exists()
    assert {path.name for path in output.parent.iterdir()} <= {part_of(output).name}
    return text


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.xz", ".jsonl.gz"])
def test_what_is_fetched_is_a_data_set(server, tmp_path, suffix):
    output = tmp_path / f"data{suffix}"
    fetched = fetch(output, endpoint=server.url)
    assert (fetched.entries, fetched.left_out, fetched.database_version) == (10, {}, VERSION)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    entries = load_entries(output)
    assert [entry.formula for entry in entries] == ["".join(sorted((f"{metal}1", "N1"))) for metal in METALS]
    for number, (entry, document) in enumerate(zip(entries, server.documents, strict=True)):
        assert entry.identifier == f"mp-{100 + number}"
        assert (entry.bulk_modulus, entry.shear_modulus) == (266.917 + number, 187.0)
        assert entry.elastic_tensor == document["elastic_tensor"]["raw"]
        assert entry.voigt_reuss == dict(zip(AVERAGES, (266.917, 266.917, 190.0, 184.0), strict=True))
        assert (entry.spacegroup, entry.database_version, entry.tensor_source) == (221, VERSION, entry.source)
        np.testing.assert_array_equal(entry.crystal.lattice, document["structure"]["lattice"]["matrix"])


def test_the_rounded_tensor_and_the_warnings_are_kept(server, tmp_path):
    output = tmp_path / "data.jsonl"
    fetch(output, endpoint=server.url)
    first, second = map(json.loads, output.read_text().splitlines()[:2])
    assert first["C_ieee_GPa"] == server.documents[0]["elastic_tensor"]["ieee_format"]
    assert first["warnings"] == ["a warning"]
    assert "warnings" not in second


def test_the_server_is_asked_for_chunks_and_never_for_its_filters(server, output):
    fetch(output, endpoint=server.url)
    assert [len(asked) for asked in server.requests] == [3, 3, 3, 1]


def test_what_cannot_be_an_entry_is_counted(server, output):
    mixed = Structure(Lattice.cubic(4.2), [{"Ti": 0.5, "Al": 0.5}, "N"], [[0] * 3, [0.5] * 3])
    server.documents += [
        nitride("Ta", 20, deprecated=True),
        nitride("Ta", 21, state="failed"),
        nitride("Ta", 22, bulk_modulus=None),
        nitride("Ta", 23, shear_modulus={"voigt": 1.0, "reuss": 1.0, "vrh": None}),
        nitride("Ta", 24, structure=None),
        nitride("Ta", 25, structure=mixed.as_dict()),
        nitride("W", 26, elastic_tensor=None, symmetry=None),
        nitride("W", 27, bulk_modulus={"voigt": -4.0, "reuss": -40.0, "vrh": -22.0}),
    ]
    fetched = fetch(output, endpoint=server.url)
    assert fetched.left_out == {
        "deprecated": 1,
        "failed fit": 1,
        "no moduli": 2,
        "no structure": 1,
        "not an ordered crystal": 1,
    }
    assert fetched.entries == 12  # moduli are judged by the cleaning rules, not here
    assert "mp-120" not in {identifier for asked in server.requests for identifier in asked}


def test_a_server_that_ignores_the_ids_gives_each_entry_once(server, output, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 100)
    server.heeds_ids = False
    assert fetch(output, endpoint=server.url).entries == 10
    identifiers = [entry.identifier for entry in load_entries(output)]
    assert len(set(identifiers)) == 10


def test_what_the_server_keeps_back_is_counted(server, output):
    server.heeds_ids = False  # and a page of four: the last six never come
    assert fetch(output, endpoint=server.url).left_out == {"not delivered": 6}


def test_an_id_in_its_new_spelling_is_the_same(server, output, monkeypatch):
    """The server may list mp-149 and answer mp-ft."""
    plain = Handler.answer

    def respelled(self, status, content):
        if "structure" in (content.get("data") or [{}])[0]:
            content["data"] = [row | {"material_id": str(AlphaID(row["material_id"]))} for row in content["data"]]
        plain(self, status, content)

    monkeypatch.setattr(Handler, "answer", respelled)
    assert fetch(output, endpoint=server.url).entries == 10


@pytest.mark.parametrize(
    ("filters", "kept", "reason"),
    [(Filters(("Ti", "V", "N")), 2, "other elements"), (Filters(max_atoms=1), 1, "more atoms")],
)
def test_filters_are_applied_here(server, output, filters, kept, reason):
    one = Structure(Lattice.cubic(2.5), ["Ti"], [[0] * 3]).as_dict()
    server.documents[0]["structure"] = one if filters.max_atoms else server.documents[0]["structure"]
    fetched = fetch(output, filters, endpoint=server.url)
    assert (fetched.entries, fetched.left_out) == (kept, {reason: 10 - kept})


def test_a_filter_that_nothing_passes_keeps_what_came(server, output):
    assert "No entry passes" in refused(output, server, Filters(("He",)))
    requests = len(server.requests)
    assert fetch(output, endpoint=server.url).entries == 10
    assert len(server.requests) == requests


def test_an_element_that_is_none(server, output):
    assert "'Tl-N' is no element" in refused(output, server, Filters(("Tl-N",)))


# --- interrupts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 401, 500, 429])
def test_a_break_in_the_middle_is_resumed(server, output, status):
    undisturbed = output.with_name("undisturbed.jsonl.xz")
    fetch(undisturbed, endpoint=server.url)
    expected = undisturbed.read_bytes()
    undisturbed.unlink()
    server.requests.clear()

    server.fault = lambda number: status if number >= 2 else None
    text = refused(output, server)
    assert "same command again" in text
    assert f"{part_of(output)} keeps 6 of 10" in text
    server.fault = lambda _: None
    fetched = fetch(output, endpoint=server.url)
    assert output.read_bytes() == expected
    assert fetched.entries == 10
    assert not part_of(output).exists()
    assert len({tuple(asked) for asked in server.requests}) == len(server.requests) == 4  # none was fetched twice


def test_counts_survive_a_break(server, output):
    server.documents += [nitride("Ta", 20, deprecated=True), nitride("Ta", 21, bulk_modulus=None)]
    server.documents[0]["shear_modulus"] = None
    server.fault = lambda number: 503 if number == 1 else None
    refused(output, server)
    server.fault = lambda _: None
    assert fetch(output, endpoint=server.url).left_out == {"deprecated": 1, "no moduli": 2}


@pytest.mark.parametrize("lost", [1, 200])
@pytest.mark.parametrize("requests", [0, 2])
def test_a_line_that_a_kill_cut_short_is_fetched_again(server, output, lost, requests):
    server.fault = lambda number: 503 if number >= requests else None
    refused(output, server)
    part = part_of(output)
    part.write_bytes(part.read_bytes()[:-lost])
    server.fault = lambda _: None
    assert fetch(output, endpoint=server.url).entries == 10
    assert len({entry.identifier for entry in load_entries(output)}) == 10


def test_a_new_database_version_asks_to_start_anew(server, output, monkeypatch):
    server.fault = lambda number: 503 if number >= 2 else None
    refused(output, server)
    monkeypatch.setattr(module, "_client", renewed_client(module._client))
    text = refused(output, server)
    assert f"from version {VERSION} to 2031.01.01" in text
    assert f"delete {part_of(output)}" in text
    part_of(output).unlink()
    server.fault = lambda _: None
    assert fetch(output, endpoint=server.url).database_version == "2031.01.01"
    assert {entry.database_version for entry in load_entries(output)} == {"2031.01.01"}


def renewed_client(make):
    """mp-api asks a server for its version once a process: here is a client of a later one."""

    def later(endpoint):
        client = make(endpoint)
        client.db_version = "2031.01.01"
        return client

    return later


@pytest.mark.parametrize("content", [b"{}\n", b"mine", b'{"database_version": ?}\n', b"[]\n"])
def test_a_part_that_is_something_else_is_left_alone(server, output, content):
    part_of(output).write_bytes(content)
    text = refused(output, server)
    assert str(part_of(output)) in text
    assert part_of(output).read_bytes() == content


# --- faults -----------------------------------------------------------------------------------------------------------


def test_no_key(server, output, monkeypatch):
    monkeypatch.delenv("MP_API_KEY")
    monkeypatch.setattr(pymatgen.core, "SETTINGS", {}, raising=False)
    text = refused(output, server)
    assert "No key" in text
    assert "export MP_API_KEY" in text


@pytest.mark.parametrize("key", ["f" * 32, "too short", "SECRET" * 5 + "\nx"])
def test_a_key_that_is_refused(server, output, monkeypatch, key):
    monkeypatch.setenv("MP_API_KEY", key)
    text = refused(output, server)
    assert "refuses the key" in text
    assert "export MP_API_KEY" in text


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "refuses the key"), (400, "--upgrade mp-api"), (404, "--upgrade mp-api"), (500, "wait some minutes")],
)
def test_a_status_says_what_to_mend(server, output, status, message):
    server.fault = lambda _: status
    assert message in refused(output, server)


def test_no_server(server, output):
    server.server_close()
    text = refused(output, server)
    assert "cannot be reached" in text
    assert "same command again" in text


def test_a_page_of_a_proxy_for_an_answer(server, output, monkeypatch):
    """As hotels and offices have it: status 200 and a form to log in."""

    def page(self, status, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    monkeypatch.setattr(Handler, "answer", page)
    assert "same command again" in refused(output, server)


def test_a_server_without_tensors(server, output):
    server.documents.clear()
    assert "lists no elastic tensors" in refused(output, server)


def test_an_output_that_exists_is_not_touched(server, output):
    output.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        fetch(output, endpoint=server.url)
    assert output.read_text() == "mine"
    assert not server.requests


@pytest.mark.parametrize("name", ["data.csv", "data", "data.xz", "none/data.jsonl"])
def test_an_output_that_cannot_be_is_found_before_the_download(server, tmp_path, name):
    with pytest.raises(InputError, match=r"must end in|make it first"):
        fetch(tmp_path / name, endpoint=server.url)
    assert not server.requests


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_what_can_be_resumed(server, output, monkeypatch, step):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, step, full)
        assert "No space left on device" in refused(output, server)
    assert fetch(output, endpoint=server.url).entries == 10


def test_the_key_is_nowhere(server, output, capfd, caplog):
    server.fault = lambda number: 401 if number >= 2 else None
    with caplog.at_level("DEBUG"):
        refused(output, server)
        content = part_of(output).read_text()
        server.fault = lambda _: None
        fetch(output, endpoint=server.url)
    shown = capfd.readouterr()
    for text in (content, caplog.text, shown.out, shown.err, *map(repr, load_entries(output))):
        assert "SECRET" not in text


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(server, monkeypatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.setattr(MAPI_CLIENT_SETTINGS, "ENDPOINT", server.url)

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(cmd_fetch, list(map(str, arguments)))
        with contextlib.suppress(SystemExit):
            if result.exception:
                raise result.exception
        return result.exit_code, result.output

    return run


def test_the_command_says_what_came_and_writes_a_card(server, command, output):
    server.documents += [
        nitride("Ta", 20, deprecated=True),
        nitride("W", 21, shear_modulus={"voigt": -4.0, "reuss": -40.0, "vrh": -22.0}),
    ]
    code, text = command(output)
    assert code == 0
    assert f"11 entries of database version {VERSION}" in text
    assert "Left out: deprecated 1\n" in text
    assert "will use 10; the cleaning rules remove: not positive 1\n" in text
    assert "CC BY 4.0" in text
    card = (output.parent / "data.card.md").read_text()
    assert VERSION in card
    assert "| not positive |" in card


def test_the_command_filters(command, output):
    code, text = command(output, "--elements", "Ti, V,N", "--max-atoms", 2)
    assert code == 0
    assert "2 entries" in text
    assert "other elements 8" in text


def test_the_command_shows_one_line_for_a_mistake(server, command, output):
    server.fault = lambda number: 401 if number >= 2 else None
    code, text = command(output)
    assert code == 2
    assert text.startswith("Error: The Materials Project refuses the key")
    assert text.count("\n") == 1
