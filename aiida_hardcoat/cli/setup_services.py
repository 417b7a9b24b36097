"""Whether PostgreSQL and RabbitMQ are there and let one in; one line on how to mend it where they are not."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import shutil
import socket
import subprocess
from typing import Any

from aiida_hardcoat.errors import InputError

SECONDS = 5
"""How long a server may take to answer."""

ENOUGH = 100 * 3600 * 1000
"""Milliseconds that RabbitMQ must let a process last, at least."""
A_YEAR = 365 * 24 * 3600 * 1000

Config = dict[str, Any]


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def check_database(config: Config, *, empty: bool = False) -> str:
    """A line about the PostgreSQL of a profile.

    :param config: ``storage.config`` of the profile.
    :param empty: that nothing of AiiDA is in the database.
    :raises InputError: how to start it, or make the user or the database.
    """
    user, name = config["database_username"], config["database_name"]
    place = f"{config['database_hostname']}:{config['database_port']}"
    with connect(config) as connection:
        version = connection.execute("SHOW server_version").fetchone()[0].split()[0]
        encoding = connection.execute("SHOW server_encoding").fetchone()[0]
        used = connection.execute("SELECT to_regclass('db_dbnode')").fetchone()[0] is not None
        may_create = connection.execute("SELECT has_schema_privilege('public', 'CREATE')").fetchone()[0]
    if encoding != "UTF8":
        raise InputError(f"database '{name}' has the encoding {encoding}: {createdb(user, name)}")
    if empty and used:
        raise InputError(f"database '{name}' holds another profile: make one for this, {createdb(user, 'NAME')}")
    if not may_create:
        raise InputError(
            f"user '{user}' may not make tables in database '{name}': make it the owner, {createdb(user, name)}"
        )
    return f"PostgreSQL {version} at {place}, database {name}"


def connect(config: Config) -> Any:
    """A connection to the database of a profile.

    :raises InputError: how to start PostgreSQL, or make the user or the database.
    """
    import psycopg

    host, port = config["database_hostname"], config["database_port"]
    user, name = config["database_username"], config["database_name"]
    try:
        return psycopg.connect(
            host=host,
            port=port,
            user=user,
            password=config["database_password"],
            dbname=name,
            connect_timeout=SECONDS,
        )
    except psycopg.Error as error:
        text = str(error)
    if "authentication failed" in text or "no password supplied" in text:
        raise InputError(
            f"PostgreSQL at {host}:{port} refuses user '{user}' with this password: make the user,"
            f" `sudo -u postgres createuser --pwprompt {user}`, and put its password into HARDCOAT_DATABASE_PASSWORD"
        )
    if "does not exist" in text and "database" in text:
        raise InputError(f"PostgreSQL at {host}:{port} has no database '{name}': {createdb(user, name)}")
    if "no pg_hba.conf entry" in text:
        raise InputError(f"PostgreSQL at {host}:{port} lets nobody in from here: allow '{user}' in its pg_hba.conf")
    raise InputError(
        f"no PostgreSQL answers at {host}:{port}: start it, `sudo systemctl start postgresql` (Debian package"
        " postgresql), or say where it is with --database"
    )


def createdb(user: str, name: str) -> str:
    return f"`sudo -u postgres createdb --owner={user} --encoding=UTF8 --template=template0 {name}`"


def database_is_encrypted(config: Config) -> bool:
    """Whether the connection to PostgreSQL is under TLS."""
    with connect(config) as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    return bool(row and row[0])


# --- RabbitMQ -------------------------------------------------------------------------------------------------------


def check_broker(config: Config) -> str:
    """A line about the RabbitMQ of a profile.

    :param config: ``process_control.config`` of the profile.
    :raises InputError: how to start it, or make the user or the virtual host, or raise its consumer_timeout.
    """
    version = broker_version(config)
    place = f"{config['broker_host']}:{config['broker_port']}"
    timeout = consumer_timeout(config)
    if timeout is not None and timeout < ENOUGH:
        raise InputError(f"RabbitMQ at {place} {too_short(timeout)}")
    told = "" if timeout is None else f", consumer_timeout {duration(timeout)}"
    return f"RabbitMQ {version} at {place}, virtual host {config['broker_virtual_host']}{told}"


def too_short(timeout: float) -> str:
    """What is wrong with a consumer_timeout, and how to mend it."""
    return (
        f"gives a process that lasts longer than {duration(timeout)} to a second worker, which ruins its provenance:"
        f" put `consumer_timeout = {A_YEAR}` into /etc/rabbitmq/rabbitmq.conf, then"
        " `sudo systemctl restart rabbitmq-server`"
    )


def duration(milliseconds: float) -> str:
    if milliseconds == float("inf"):
        return "none"
    hours = milliseconds / 3.6e6
    return f"{hours / 24:.4g} days" if hours >= 100 else f"{hours:.3g} h"


def broker_version(config: Config) -> str:
    """The version of the RabbitMQ that lets this user into this virtual host.

    :raises InputError: how to start it, or make the user or the virtual host.
    """
    import aiormq
    from aiormq.exceptions import AMQPError
    from pamqp.exceptions import PAMQPException
    from yarl import URL

    host, port, user = config["broker_host"], config["broker_port"], config["broker_username"]
    name = config.get("broker_virtual_host") or "/"
    url = URL.build(
        scheme=config.get("broker_protocol", "amqp"),
        user=user,
        password=config["broker_password"],
        host=host,
        port=int(port),
        path="/" + name.replace("/", "%2F"),
        encoded=False,
    )

    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it would print what the error says

    async def ask() -> str:
        connection = await asyncio.wait_for(aiormq.connect(url), SECONDS)
        version = connection.server_properties.get("version", "")
        await connection.close()
        return version.decode() if isinstance(version, bytes) else str(version)

    try:
        return asyncio.run(ask())
    except (TimeoutError, AMQPError, PAMQPException, OSError) as error:
        # Where RabbitMQ closes the connection at once, the reason is in the frame that aiormq did not expect.
        reasons = [getattr(part, "reply_text", "") for part in error.args]
        text = " ".join([type(error).__name__, str(error), *map(str, reasons)])
    if "ACCESS_REFUSED" in text or "Authentication" in text:
        raise InputError(
            f"RabbitMQ at {host}:{port} refuses user '{user}' with this password: make the user,"
            f" `sudo rabbitmqctl add_user {user}`, and put its password into HARDCOAT_BROKER_PASSWORD"
        )
    if "NOT_ALLOWED" in text or "vhost" in text:
        raise InputError(
            f"RabbitMQ at {host}:{port} does not let '{user}' into the virtual host '{name}':"
            f" `sudo rabbitmqctl add_vhost {name}; sudo rabbitmqctl set_permissions -p {name} {user} '.*' '.*' '.*'`"
        )
    raise InputError(
        f"no RabbitMQ answers at {host}:{port}: start it, `sudo systemctl start rabbitmq-server` (Debian package"
        " rabbitmq-server), or say where it is with --broker"
    )


def consumer_timeout(config: Config) -> float | None:
    """Milliseconds after which RabbitMQ takes a process away from its worker, inf for never.

    None where it cannot be told: only the broker's own command knows, on its own machine, and for its administrator.
    """
    if not on_this_machine(config["broker_host"]):
        return None
    question = (
        "{application:get_env(rabbit, consumer_timeout),"
        " [P || {listener, _, _, _, _, P, _} <- rabbit_networking:active_listeners()]}."
    )
    for command in ("/usr/lib/rabbitmq/bin/rabbitmqctl", "rabbitmqctl"):
        if shutil.which(command) is None:
            continue
        try:
            done = subprocess.run(
                [command, "-q", "eval", question], capture_output=True, text=True, timeout=4 * SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        found = re.match(r"\{(undefined|\{ok,(\w+)\}),\[([\d,\s]*)\]\}", done.stdout)
        if found and str(config["broker_port"]) in re.findall(r"\d+", found[3]):
            return float(found[2]) if (found[2] or "").isdigit() else float("inf")
    return None


# --- who else can reach them ----------------------------------------------------------------------------------------


def on_this_machine(host: str) -> bool:
    return host in ("localhost", socket.gethostname(), socket.getfqdn()) or is_loopback(host)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_addresses(port: int) -> list[str]:
    """Addresses beyond loopback at which this machine listens on a port; none where it cannot be told."""
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError, RuntimeError):
        return []
    listening = {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN and one.laddr.port == port}
    return sorted(address for address in listening if not is_loopback(address))
