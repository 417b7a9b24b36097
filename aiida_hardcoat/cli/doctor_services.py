"""Storage and broker of a profile: whether they answer, and who else can reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiida_hardcoat.cli import setup_services as services
from aiida_hardcoat.cli.doctor_findings import Finding, finding
from aiida_hardcoat.cli.setup_profile import POSTGRESQL, RABBITMQ
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

ERLANG_PORTS = (4369, 25672)
"""Of Erlang's name server and of the connections between RabbitMQ's nodes, unless they were told otherwise."""


def check_services(profile: Profile) -> list[Finding]:
    """Rows about the servers; an embedded profile has none."""
    rows = []
    if profile.storage_backend == POSTGRESQL:
        rows += check_database(profile.storage_config)
    if profile.process_control_backend == RABBITMQ:
        rows += check_broker(profile.process_control_config)
    return rows


def services_answer(rows: list[Finding]) -> bool:
    """Whether what needs the storage can be looked at."""
    return all(row["ok"] for row in rows if row["what"] == "storage")


def check_database(config: dict[str, Any]) -> list[Finding]:
    try:
        line = services.check_database(config)
        encrypted = services.database_is_encrypted(config)
    except InputError as error:
        return [refused("storage", error)]
    host, port = config["database_hostname"], int(config["database_port"])
    return [finding("storage", True, line), exposure("storage", host, [port], encrypted)]


def check_broker(config: dict[str, Any]) -> list[Finding]:
    try:
        version = services.broker_version(config)
    except InputError as error:
        return [refused("broker", error)]
    host, port = config["broker_host"], int(config["broker_port"])
    line = f"RabbitMQ {version} at {host}:{port}, virtual host {config.get('broker_virtual_host') or '/'}"
    rows = [finding("broker", True, line), check_consumer_timeout(config)]
    ports = [port, *(ERLANG_PORTS if port in (5671, 5672) else ())]
    rows.append(exposure("broker", host, ports, config.get("broker_protocol") == "amqps"))
    return [*rows, *check_guest(config)]


def refused(what: str, error: InputError) -> Finding:
    detail, _, mend = str(error).partition(": ")
    return finding(what, False, detail, mend)


def check_consumer_timeout(config: dict[str, Any]) -> Finding:
    what = "consumer_timeout"
    timeout = services.consumer_timeout(config)
    if timeout is None:
        detail = "not known here: only RabbitMQ's administrator can ask for it"
        mend = "sudo rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).' should be undefined or large"
        return finding(what, False, detail, mend, needed=False, word="unknown")
    if timeout < services.ENOUGH:
        detail, _, mend = services.too_short(timeout).partition(": ")
        return finding(what, False, f"RabbitMQ {detail}", mend, word="UNSAFE")
    return finding(what, True, services.duration(timeout))


def exposure(what: str, host: str, ports: list[int], encrypted: bool) -> Finding:
    """Whether passwords, and what AiiDA executes, pass over a network for all to read.

    :param ports: the first is the one that AiiDA uses.
    """
    name = f"{what} exposed"
    if not services.on_this_machine(host):
        where = f"{host} is another machine, reached {'with' if encrypted else 'without'} TLS"
        mend = "use amqps" if what == "broker" else "set ssl = on in its postgresql.conf"
        return finding(name, encrypted, where, mend, word="UNSAFE")
    addresses = {port: services.open_addresses(port) for port in ports}
    listed = [f"{address} port {port}" for port, some in addresses.items() for address in some]
    # The other ports of RabbitMQ have no TLS of AiiDA's.
    safe = not listed or (encrypted and not any(addresses[port] for port in ports[1:]))
    bind = {
        "storage": "listen_addresses = 'localhost' in postgresql.conf",
        "broker": "listeners.tcp.1 = 127.0.0.1:5672 in rabbitmq.conf; ERL_EPMD_ADDRESS=127.0.0.1 and"
        " SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' in rabbitmq-env.conf",
    }
    if safe:
        return finding(name, True, "no" if not listed else f"at {', '.join(listed)}, with TLS")
    detail = f"it listens at {', '.join(listed)} without TLS: others on the network can try passwords and read along"
    return finding(name, False, detail, bind[what], needed=False, word="UNSAFE")


def check_guest(config: dict[str, Any]) -> list[Finding]:
    """Whether the account that everyone knows is used, or open."""
    user = config["broker_username"]
    mend = (
        "sudo rabbitmqctl add_user hardcoat; sudo rabbitmqctl add_vhost hardcoat;"
        " sudo rabbitmqctl set_permissions -p hardcoat hardcoat '.*' '.*' '.*'; sudo rabbitmqctl delete_user guest"
    )
    if user == "guest":
        local = services.on_this_machine(config["broker_host"])
        detail = "the profile uses the account guest: whoever reaches the broker can run code as you"
        return [finding("broker guest", False, detail, mend, needed=not local, word="UNSAFE")]
    try:
        services.broker_version(config | {"broker_username": "guest", "broker_password": "guest"})
    except InputError:
        return [finding("broker guest", True, f"not used; the profile is user {user}")]
    detail = f"guest is let into the virtual host {config.get('broker_virtual_host') or '/'} with its known password"
    return [finding("broker guest", False, detail, "sudo rabbitmqctl delete_user guest", needed=False, word="UNSAFE")]
