# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A Galera cluster of a test's own: three nodes on the loopback interface.

Each has its own data directory and its own ports; a node may be killed, frozen and started
again.  Debian's galera-4 and mariadb-backup: rsync's state transfer does not work with data
directories that are not the system's.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from tests.e2e.daemons import Daemon, wait_for
from tests.servers import free_port

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
_START_S = 120.0

_CONFIGURATION = """\
[mysqld]
datadir = {folder}/data
socket = {folder}/sock
pid_file = {folder}/pid
bind_address = 127.0.0.1
port = {port}
skip_name_resolve = ON
character_set_server = utf8mb4
max_connections = 300
# as many as a small machine has room for, three times
innodb_buffer_pool_size = 64M
innodb_log_file_size = 32M
performance_schema = OFF
# what Galera asks for
binlog_format = ROW
default_storage_engine = InnoDB
innodb_autoinc_lock_mode = 2
# a node that dies may lose what the others have
innodb_flush_log_at_trx_commit = 0
wsrep_on = ON
wsrep_provider = {provider}
wsrep_cluster_name = {cluster}
wsrep_cluster_address = gcomm://{peers}
wsrep_node_name = {name}
wsrep_node_address = 127.0.0.1:{group}
wsrep_node_incoming_address = 127.0.0.1:{port}
wsrep_sst_method = mariabackup
wsrep_sst_auth = root:
wsrep_sst_receive_address = 127.0.0.1:{sst}
wsrep_provider_options = "gmcast.listen_addr=tcp://127.0.0.1:{group};\
ist.recv_addr=127.0.0.1:{ist};gcache.size=64M"
"""


def missing_programs() -> list[str]:
    """What of Debian's packages a cluster behind haproxy needs and this machine lacks."""
    found = {
        "galera-4": PROVIDER.exists(),
        "haproxy": bool(which("haproxy")),
        "mariadb-backup": bool(which("mariadb-backup")),
        "mariadb-server": bool(which("mariadbd")),
        "socat": bool(which("socat")),  # mariadb-backup's way from node to node
    }
    return [package for package, there in found.items() if not there]


def which(program: str) -> str | None:
    """Where it is, in a folder of the administrator too."""
    return shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


class Node:
    """One server.

    :ivar port: where it takes SQL.
    :ivar url: SQLAlchemy's, without a database name.
    """

    def __init__(self, folder: Path, name: str, group: int) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"mysql+pymysql://root@127.0.0.1:{self.port}"
        self._folder = folder
        self._group = group
        self._user = ["--user=root"] if os.geteuid() == 0 else []
        self._daemon: Daemon | None = None
        folder.mkdir(parents=True)

    def install(self, cluster: str, peers: Sequence[int]) -> None:
        """Write its configuration and its first, empty data directory."""
        (self._folder / "my.cnf").write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                name=self.name,
                cluster=cluster,
                provider=PROVIDER,
                peers=",".join(f"127.0.0.1:{port}" for port in peers),
                port=self.port,
                group=self._group,
                ist=free_port(),
                sst=free_port(),
            )
        )
        subprocess.run(
            [
                *(which("mariadb-install-db") or "mariadb-install-db", "--no-defaults"),
                *(f"--datadir={self._folder}/data", "--skip-test-db", *self._user),
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            capture_output=True,
        )

    def start(self, *, first: bool = False) -> None:
        """Returns when it takes part in the cluster.

        :param first: it makes the cluster.
        """
        program = which("mariadbd") or "mariadbd"
        command = [program, f"--defaults-file={self._folder}/my.cnf", *self._user]
        if first:
            command.append("--wsrep-new-cluster")
        daemon = self._daemon = Daemon(self.name, command, self._folder / "mariadb.log")

        def is_ready() -> bool:
            assert daemon.is_running(), daemon.text()[-4000:]
            return self.is_ready()

        wait_for(f"{self.name} to take part in the cluster", is_ready, _START_S)

    def is_ready(self) -> bool:
        """Whether it answers, and to what the tables hold."""
        try:
            return self.status("wsrep_ready") == "ON"
        except sa.exc.OperationalError:
            return False

    def status(self, name: str) -> str:
        """A status variable, such as wsrep_cluster_size."""
        arguments = {"connect_timeout": 5, "read_timeout": 5}
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, connect_args=arguments)
        with engine.connect() as connection:
            row = connection.execute(sa.text(f"SHOW GLOBAL STATUS LIKE '{name}'")).one()
        return str(row[1])

    def is_running(self) -> bool:
        return self._daemon is not None and self._daemon.is_running()

    def kill(self) -> None:
        """As when its machine dies."""
        if self._daemon is not None:
            self._daemon.kill()

    def freeze(self) -> None:
        """As when its network is cut: its connections stay, and nothing comes out of them."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._daemon is not None
        os.killpg(self._daemon.pid, number)


class Cluster:
    """Three nodes, each of which takes writes."""

    def __init__(self, folder: Path) -> None:
        groups = [free_port() for _ in range(3)]
        self.nodes = [
            Node(folder / f"node{number}", f"node{number}", group)
            for number, group in enumerate(groups, 1)
        ]
        try:
            for node in self.nodes:
                node.install(folder.name, groups)
                node.start(first=node is self.nodes[0])
            self.wait_until_whole()
        except BaseException:
            self.close()
            raise

    def wait_until_whole(self) -> None:
        def whole() -> bool:
            return all(
                node.is_ready() and node.status("wsrep_cluster_size") == "3" for node in self.nodes
            )

        wait_for("three nodes in the cluster", whole, _START_S)

    def mend(self) -> None:
        """Let go on what is frozen, start what was killed, and wait until all are one cluster."""
        for node in self.nodes:
            if node.is_running():
                node.thaw()
            else:
                node.start()
        self.wait_until_whole()

    def close(self) -> None:
        """End what runs; a cluster has nothing to keep, and its order of ending takes long."""
        for node in self.nodes:
            node.kill()
