#!/usr/bin/env python3
"""PostgreSQL, RabbitMQ, munge, slurmctld, slurmd and sshd on loopback, from the packages of Debian 12, by root.

    servers.py install                 apt-get what is missing
    servers.py up | down [NAME...]     all of them, or some; down --kill ends them with SIGKILL
    servers.py status                  up or down, and process ids
    servers.py env                     what a shell needs to use them: eval "$(servers.py env)"

Everything lies in the folder HARDCOAT_SERVICES, which other users must be able to pass through: the servers run as
`postgres`, `rabbitmq` and `munge`. Ports are those of PORTS unless the environment says otherwise, so that two sets
can run side by side. Each server is a child of nobody: it is known by the process id in its folder.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGES = (
    "postgresql-15",
    "rabbitmq-server",
    "munge",
    "slurmctld",
    "slurmd",
    "slurm-client",
    "openssh-server",
    "openssh-client",
)
PROGRAMS = ("rabbitmq-server", "epmd", "munged", "slurmctld", "slurmd", "sbatch", "sshd", "ssh-keygen")
PORTS = {
    name: int(os.environ.get(f"HARDCOAT_{name.upper()}_PORT", default))
    for name, default in {
        "postgres": 45432,
        "rabbitmq": 45672,
        "erlang": 45673,
        "epmd": 45369,
        "slurmctld": 45817,
        "slurmd": 45818,
        "sshd": 45022,
    }.items()
}
NAME = "hardcoat"
"""Of the user, the database, the virtual host, the cluster and the SSH alias."""
HOST = "127.0.0.1"
PATIENCE = 60.0
os.environ["PATH"] += ":/usr/sbin:/sbin"


class ServerError(Exception):
    """A server that does not start; the message ends with the last lines of its log."""


# --- the folder -------------------------------------------------------------------------------------------------------


def state() -> Path:
    try:
        return Path(os.environ["HARDCOAT_SERVICES"]).resolve()
    except KeyError:
        raise ServerError("set HARDCOAT_SERVICES to the folder of the servers") from None


def folder(server: str, owner: str = "root", mode: int = 0o700) -> Path:
    """The folder of a server, made for its user."""
    path = state() / server
    path.mkdir(parents=True, exist_ok=True)
    shutil.chown(path, owner, pwd.getpwnam(owner).pw_gid)
    path.chmod(mode)
    return path


def write(path: Path, text: str, owner: str = "root", mode: int = 0o600) -> Path:
    """A file that nobody else can read at any moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    shutil.chown(path, owner, pwd.getpwnam(owner).pw_gid)
    path.chmod(mode)
    return path


def password(server: str) -> str:
    """A random password, made at the first call."""
    path = state() / f"{server}.password"
    if not path.exists():
        write(path, secrets.token_urlsafe(24))
    return path.read_text()


def home() -> Path:
    """The home folder of whoever uses the servers: SSH alias, key and known host."""
    return state() / "home"


def slurm_conf() -> Path:
    return state() / "slurm" / "slurm.conf"


SECRETS = {"HARDCOAT_DATABASE_PASSWORD": "postgres", "HARDCOAT_BROKER_PASSWORD": "rabbitmq"}
"""Environment variables that hold passwords, and whose."""

KERNELS = ("OPENBLAS_", "MKL_", "BLIS_", "ONEDNN_", "DNNL_", "ATEN_")
"""How the environment variables begin by which numerical libraries choose the code for a processor."""


def environment() -> dict[str, str]:
    """What a client of the servers needs in its environment, beside SECRETS."""
    return {
        "HARDCOAT_DATABASE": f"postgresql://{NAME}@{HOST}:{PORTS['postgres']}/{NAME}",
        "HARDCOAT_BROKER": f"amqp://{NAME}@{HOST}:{PORTS['rabbitmq']}/{NAME}",
        "HOME": str(home()),
        "SLURM_CONF": str(slurm_conf()),
        "RABBITMQ_NODENAME": f"{NAME}@localhost",
        "ERL_EPMD_PORT": str(PORTS["epmd"]),
    }


# --- processes --------------------------------------------------------------------------------------------------------


def process_id(pidfile: Path) -> int | None:
    """The process that wrote the file, if it still runs."""
    try:
        number = int(pidfile.read_text().split()[0])
        state_of_process = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    return None if state_of_process == "Z" else number


def start(command: list[str], log: Path, user: str = "root", **variables: str) -> int:
    """Start a server in a session of its own; it inherits nothing from the caller but the path."""
    account = pwd.getpwnam(user)
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(log.parent), **variables}
    with log.open("ab") as handle:
        os.fchown(handle.fileno(), account.pw_uid, account.pw_gid)
        os.fchmod(handle.fileno(), 0o600)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env={**environ, "HARDCOAT_SERVER_OF": str(state())},
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
        ).pid


def run(command: list[str], user: str = "root", text: str = "", **variables: str) -> str:
    """Output of a command that must succeed."""
    account = pwd.getpwnam(user)
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables},
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
    )
    if done.returncode:
        raise ServerError(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def wait_for(condition: Callable[[], object], what: str, log: Path | None = None, patience: float = PATIENCE) -> None:
    """Look again and again until something holds.

    :raises ServerError: when it does not in time.
    """
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            tail = log.read_text(errors="replace")[-600:] if log and log.exists() else ""
            raise ServerError(f"{what}: not within {patience:.0f} s\n{tail}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def family(number: int) -> Iterator[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [number]
    for one in found:
        found += children.get(one, [])
    yield from found


def gone(numbers: list[int]) -> bool:
    return not any(Path(f"/proc/{number}").exists() and not is_zombie(number) for number in numbers)


def is_zombie(number: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def send(numbers: list[int], sign: signal.Signals) -> None:
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, sign)


def end(pidfile: Path, kill: bool, sign: signal.Signals = signal.SIGTERM) -> None:
    """End a server and its children: politely, or as a power cut would."""
    number = process_id(pidfile)
    if number is None:
        return
    everyone = list(family(number))
    if kill:
        send(everyone, signal.SIGKILL)
    else:
        send([number], sign)
        with contextlib.suppress(ServerError):
            wait_for(lambda: gone([number]), "", patience=20)
        send(everyone, signal.SIGKILL)
    wait_for(lambda: gone(everyone), f"process {number} does not end")
    reap()


def reap() -> None:
    """Take note of those that this very process started."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def leftovers() -> list[int]:
    """Processes that were started by these servers, jobs of Slurm included, and still run."""
    marks = (f"HARDCOAT_SERVER_OF={state()}".encode(), f"SLURM_CONF={slurm_conf()}".encode())
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            variables = environ.read_bytes().split(b"\0")
            is_job = any(variable.startswith(b"SLURM_JOB_ID=") for variable in variables)
            if marks[0] in variables or (is_job and marks[1] in variables):
                found.append(int(environ.parent.name))
    return [number for number in found if not is_zombie(number)]


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def postgres_bin() -> Path | None:
    """The newest PostgreSQL, which Debian keeps off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def postgres_pidfile() -> Path:
    return state() / "postgres" / "data" / "postmaster.pid"


def psql(statement: str, user: str = "postgres", secret: str = "", database: str = "postgres") -> str:
    """The answer to a statement, as the superuser by default."""
    command = ["psql", "-h", HOST, "-p", str(PORTS["postgres"]), "-U", user, "-d", database, "-qAtX"]
    return run([*command, "-v", "ON_ERROR_STOP=1"], text=statement, PGPASSWORD=secret or password("postgres-superuser"))


def start_postgres() -> None:
    place, log = folder("postgres", "postgres"), state() / "postgres" / "log"
    programs = postgres_bin()
    assert programs is not None
    # A process that was killed may linger as a zombie, which PostgreSQL takes for alive.
    postgres_pidfile().unlink(missing_ok=True)
    new = not (place / "data" / "PG_VERSION").exists()
    if new:
        secret = write(place / "secret", password("postgres-superuser"), "postgres")
        options = ["-D", str(place / "data"), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(secret)]
        run([str(programs / "initdb"), *options, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], "postgres")
        secret.unlink()
        with (place / "data" / "postgresql.conf").open("a") as handle:
            # No Unix socket: one way in less to guard.
            handle.write(f"listen_addresses = '{HOST}'\nport = {PORTS['postgres']}\nunix_socket_directories = ''\n")
    start([str(programs / "postgres"), "-D", str(place / "data")], log, "postgres")
    ready = [str(programs / "pg_isready"), "-q", "-h", HOST, "-p", str(PORTS["postgres"])]
    wait_for(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL does not answer", log)
    if new:
        psql(f"CREATE ROLE {NAME} LOGIN PASSWORD '{password('postgres')}'")
        psql(f"CREATE DATABASE {NAME} OWNER {NAME} ENCODING 'UTF8' TEMPLATE template0")


# --- RabbitMQ ---------------------------------------------------------------------------------------------------------


def rabbitmq_environment() -> dict[str, str]:
    place = state() / "rabbitmq"
    return {
        "HOME": str(place),
        "ERL_EPMD_PORT": str(PORTS["epmd"]),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": f"{NAME}@localhost",
        "RABBITMQ_DIST_PORT": str(PORTS["erlang"]),
        "RABBITMQ_MNESIA_BASE": str(place / "mnesia"),
        "RABBITMQ_LOG_BASE": str(place / "logs"),
        "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(place / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(place / "environment"),
        "RABBITMQ_PID_FILE": str(place / "pid"),
        # The ports between Erlang nodes stay on loopback too; idle schedulers sleep instead of spinning.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
    }


def rabbitmqctl(*arguments: str) -> str:
    """The answer of the broker's own command, e.g. ``rabbitmqctl("list_queues", "-p", NAME)``."""
    command = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *arguments]
    return run(command, "rabbitmq", **rabbitmq_environment())


def start_rabbitmq() -> None:
    place, log = folder("rabbitmq", "rabbitmq"), state() / "rabbitmq" / "log"
    (place / "pid").unlink(missing_ok=True)
    cookie = place / ".erlang.cookie"
    if not cookie.exists():
        write(cookie, secrets.token_hex(20), "rabbitmq", 0o400)
        # Whoever uses the servers may ask the broker for its settings.
        write(folder("home") / ".erlang.cookie", cookie.read_text(), mode=0o400)
    settings = (
        f"listeners.tcp.local = {HOST}:{PORTS['rabbitmq']}",
        # AiiDA acknowledges a process when it has ended: after the default of 30 minutes a second worker would take it.
        f"consumer_timeout = {os.environ.get('HARDCOAT_CONSUMER_TIMEOUT', 365 * 24 * 3600 * 1000)}",
        # Instead of guest, which is not made.
        f"default_user = {NAME}",
        f"default_pass = {password('rabbitmq')}",
        f"default_vhost = {NAME}",
        "vm_memory_high_watermark.absolute = 512MB",
        "disk_free_limit.absolute = 50MB",
    )
    write(place / "rabbitmq.conf", "\n".join(settings) + "\n", "rabbitmq")
    write(place / "enabled_plugins", "[].\n", "rabbitmq")
    write(place / "environment", "", "rabbitmq", 0o644)
    start(["/usr/lib/rabbitmq/bin/rabbitmq-server"], log, "rabbitmq", **rabbitmq_environment())
    ready = lambda: process_id(place / "pid") and listens(PORTS["rabbitmq"])  # noqa: E731
    wait_for(ready, "RabbitMQ does not answer", log)


def stop_rabbitmq(kill: bool) -> None:
    end(state() / "rabbitmq" / "pid", kill)
    wait_for(end_epmd, "epmd does not end")


def end_epmd() -> bool:
    """Erlang's name server outlives its nodes, and refuses to end before it has noticed that they are gone."""
    if listens(PORTS["epmd"]):
        command = ["epmd", "-port", str(PORTS["epmd"]), "-kill"]
        subprocess.run(command, capture_output=True, env={"PATH": os.environ["PATH"], "ERL_EPMD_ADDRESS": HOST})
    return not listens(PORTS["epmd"])


# --- munge and Slurm --------------------------------------------------------------------------------------------------


def start_munge() -> None:
    place, log = folder("munge", "munge", 0o711), state() / "munge" / "output"
    key = place / "key"
    if not key.exists():
        write(key, secrets.token_hex(512), "munge", 0o400)
    for stale in place.glob("socket*"):
        stale.unlink()
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    files = [f"--{option}={place / name}" for option, name in names.items()]
    # Forced, because a folder below /tmp can be reached by others.
    start(["munged", "--force", "--num-threads=2", *files], log, "munge")
    wait_for(lambda: process_id(place / "pid") and (place / "socket").exists(), "munge does not start", log)


def write_slurm_conf() -> None:
    place = folder("slurm")
    hostname = socket.gethostname().partition(".")[0]
    cpus = os.cpu_count() or 1
    megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    settings = {
        "ClusterName": NAME,
        "SlurmctldHost": f"{hostname}({HOST})",
        "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={state() / 'munge' / 'socket'}",
        "CredType": "cred/munge",
        "SlurmctldPort": PORTS["slurmctld"],
        "SlurmdPort": PORTS["slurmd"],
        "StateSaveLocation": place / "state",
        "SlurmdSpoolDir": place / "spool",
        "SlurmctldPidFile": place / "slurmctld.pid",
        "SlurmdPidFile": place / "slurmd.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "ReturnToService": 2,
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "JobCompType": "jobcomp/filetxt",
        "JobCompLoc": place / "finished-jobs",
        "SlurmdParameters": "config_overrides",
        "SchedulerParameters": "sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0",
        "MinJobAge": 300,
        "KillWait": 5,
        "SlurmctldTimeout": 30,
        "SlurmdTimeout": 30,
        "NodeName": f"{NAME} NodeHostname={hostname} NodeAddr={HOST} CPUs={cpus} RealMemory={megabytes} State=UNKNOWN",
        "PartitionName": f"main Nodes={NAME} Default=YES MaxTime=INFINITE State=UP",
    }
    for name in ("state", "spool"):
        folder(f"slurm/{name}")
    write(place / "cgroup.conf", "", mode=0o644)
    write(slurm_conf(), "".join(f"{key}={value}\n" for key, value in settings.items()), mode=0o644)


def slurm(*command: str) -> str:
    """The answer of a command of Slurm, e.g. ``slurm("squeue", "--noheader")``."""
    return run(list(command), SLURM_CONF=str(slurm_conf()))


def start_slurmctld() -> None:
    if not slurm_conf().exists():
        write_slurm_conf()
    log = state() / "slurm" / "slurmctld.log"
    start(["slurmctld", "-D"], log, SLURM_CONF=str(slurm_conf()))
    ready = lambda: process_id(state() / "slurm" / "slurmctld.pid") and listens(PORTS["slurmctld"])  # noqa: E731
    wait_for(ready, "slurmctld does not answer", log)


def start_slurmd() -> None:
    if not slurm_conf().exists():
        write_slurm_conf()
    log = state() / "slurm" / "slurmd.log"
    start(["slurmd", "-D", "-N", NAME], log, SLURM_CONF=str(slurm_conf()))
    wait_for(lambda: process_id(state() / "slurm" / "slurmd.pid"), "slurmd does not start", log)
    if process_id(state() / "slurm" / "slurmctld.pid"):
        wait_for(node_is_up, "the node does not come up", log)


def node_is_up() -> bool:
    with contextlib.suppress(ServerError):
        return slurm("sinfo", "-hNo", "%T").strip() in ("idle", "mixed", "allocated")
    return False


def start_slurm() -> None:
    """In the order in which they need each other."""
    start_munge()
    write_slurm_conf()
    start_slurmctld()
    start_slurmd()


# --- sshd -------------------------------------------------------------------------------------------------------------


def login_environment() -> dict[str, str]:
    """What a login finds: Slurm's configuration, and the kernels of linear algebra that this environment asks for.

    With other kernels the last digits of a calculation differ.
    """
    kernels = {name: value for name, value in os.environ.items() if name.startswith(KERNELS)}
    return {"SLURM_CONF": str(slurm_conf()), **kernels}


def start_sshd() -> None:
    place, log = folder("sshd"), state() / "sshd" / "log"
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for key in (place / "host_key", place / "user_key"):
        if not key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", str(key)])
    write(place / "authorized_keys", (place / "user_key.pub").read_text())
    settings = {
        "ListenAddress": f"{HOST}:{PORTS['sshd']}",
        "HostKey": place / "host_key",
        "PidFile": place / "pid",
        "AuthorizedKeysFile": place / "authorized_keys",
        "AllowUsers": "root",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",  # the keys lie below a folder that all may write to
        "MaxStartups": "100:30:200",
        "MaxSessions": 100,
        "SetEnv": " ".join(f'"{name}={value}"' for name, value in login_environment().items()),
        "Subsystem": "sftp internal-sftp",
    }
    write(place / "sshd_config", "".join(f"{key} {value}\n" for key, value in settings.items()))
    client = folder("home") and folder("home/.ssh")
    host_key = " ".join((place / "host_key.pub").read_text().split()[:2])
    write(client / "known_hosts", f"[{HOST}]:{PORTS['sshd']} {host_key}\n")
    options = {
        "HostName": HOST,
        "Port": PORTS["sshd"],
        "User": "root",
        "IdentityFile": place / "user_key",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": client / "known_hosts",
    }
    write(client / "config", f"Host {NAME}\n" + "".join(f"  {key} {value}\n" for key, value in options.items()))
    # In the foreground and by its full path, as it wants to be called.
    start([str(shutil.which("sshd")), "-D", "-e", "-f", str(place / "sshd_config")], log)
    wait_for(lambda: process_id(place / "pid") and listens(PORTS["sshd"]), "sshd does not answer", log)


# --- all of them ------------------------------------------------------------------------------------------------------

STARTS: dict[str, Callable[[], None]] = {
    "postgres": start_postgres,
    "rabbitmq": start_rabbitmq,
    "munge": start_munge,
    "slurmctld": start_slurmctld,
    "slurmd": start_slurmd,
    "sshd": start_sshd,
}
PIDFILES = {
    "postgres": "postgres/data/postmaster.pid",
    "rabbitmq": "rabbitmq/pid",
    "munge": "munge/pid",
    "slurmctld": "slurm/slurmctld.pid",
    "slurmd": "slurm/slurmd.pid",
    "sshd": "sshd/pid",
}


def pid_of(name: str) -> int | None:
    """The process of a server, if it runs."""
    return process_id(state() / PIDFILES[name])


def up(*names: str) -> None:
    """Start servers that do not run, all by default; those that do not need each other at once.

    :raises ServerError: with the last lines of the log of the first that does not start.
    """
    root = state()
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o711)
    wanted = [name for name in STARTS if name in (names or STARTS) and pid_of(name) is None]
    folder("home")
    queues = [[name for name in wanted if name in group] for group in GROUPS]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda queue: [STARTS[name]() for name in queue], queues))


GROUPS = (("postgres",), ("rabbitmq",), ("munge", "slurmctld", "slurmd"), ("sshd",))
"""Servers that need those before them."""


def down(*names: str, kill: bool = False) -> None:
    """Stop servers, all by default, politely or with SIGKILL. After all of them no process is left."""
    wanted = [name for name in reversed(STARTS) if name in (names or STARTS)]
    if not names and not kill and pid_of("slurmctld"):
        with contextlib.suppress(ServerError):
            slurm("scancel", "--full", "--signal=KILL", "--user=root")
    for name in wanted:
        if name == "rabbitmq":
            stop_rabbitmq(kill)
        else:
            # PostgreSQL's SIGTERM would wait for its clients; SIGINT rolls back what they are at.
            end(state() / PIDFILES[name], kill, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    if not names:
        send(leftovers(), signal.SIGKILL)
        wait_for(lambda: not leftovers(), "processes are left")


def missing() -> str:
    """Why the servers cannot be had here; nothing where they can."""
    if os.geteuid() != 0:
        return "only root can start the servers"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    absent += ["postgres"] if postgres_bin() is None else []
    return f"no {', '.join(absent)}: {Path(__file__).name} install" if absent else ""


def install() -> None:
    """Debian's packages; it starts none of their servers where there is no systemd."""
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)  # type: ignore[call-overload]
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*command, *PACKAGES], check=True, **quiet)  # type: ignore[call-overload]


def main(arguments: list[str]) -> int:
    action, *names = [argument for argument in arguments if argument != "--kill"] or [""]
    unknown = [name for name in names if name not in STARTS]
    if action not in ("install", "up", "down", "status", "env") or unknown:
        print(__doc__)
        return 2
    started = time.monotonic()
    try:
        if action == "install":
            install()
        elif missing():
            raise ServerError(missing())
        elif action == "up":
            up(*names)
        elif action == "down":
            down(*names, kill="--kill" in arguments)
        elif action == "env":
            for name, value in environment().items():
                print(f"export {name}={shlex.quote(value)}")
            for name, server in SECRETS.items():
                print(f'export {name}="$(cat {shlex.quote(str(state() / server))}.password)"')
            return 0
        else:
            for name in STARTS:
                number = pid_of(name)
                print(f"{name:12s}{'down' if number is None else f'up    {number}'}")
            return 0
    except (ServerError, subprocess.CalledProcessError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{action} {' '.join(names)}".strip() + f": {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
