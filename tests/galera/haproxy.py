# Licensed under the Apache License, Version 2.0; see LICENSE.
"""haproxy in front of a cluster: one writer, the others for when it is gone.

It runs what doc/database.md shows, with the addresses of the test.
"""

import re
from pathlib import Path

import sqlalchemy as sa

from tests.e2e.daemons import Daemon, wait_for
from tests.galera.cluster import Cluster, which
from tests.servers import free_port

_DOCUMENT = Path(__file__).parents[2] / "doc" / "database.md"
_START_S = 30.0


class HAProxy:
    """Takes connections for the writer.

    :ivar url: SQLAlchemy's, without a database name.
    """

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        port = free_port()
        self.url = f"mysql+pymysql://root@127.0.0.1:{port}"
        folder.mkdir(parents=True)
        check = folder / "check"
        check.write_text(_block("sh"))
        check.chmod(0o755)
        text = _replaced(_block("text"), "/etc/haproxy/galera-check", str(check))
        text = _replaced(text, "bind 10.0.0.10:3306", f"bind 127.0.0.1:{port}")
        for number, node in enumerate(cluster.nodes, 1):
            text = _replaced(text, f"10.0.0.1{number}:3306", f"127.0.0.1:{node.port}")
        file = folder / "haproxy.cfg"
        file.write_text(text)
        with sa.create_engine(cluster.nodes[0].url, poolclass=sa.NullPool).begin() as session:
            session.execute(sa.text("CREATE USER IF NOT EXISTS haproxy@'127.0.0.1'"))
        # in the foreground, and without a parent that would start it again
        command = [which("haproxy") or "haproxy", "-db", "-f", str(file)]
        self._daemon = Daemon("haproxy", command, folder / "haproxy.log")
        server = sa.create_engine(self.url, poolclass=sa.NullPool)

        def answers() -> bool:
            assert self._daemon.is_running(), self._daemon.text()
            try:
                server.connect().close()
            except sa.exc.OperationalError:
                return False
            return True

        wait_for("haproxy to show a writer", answers, _START_S)

    def close(self) -> None:
        self._daemon.kill()


def _block(language: str) -> str:
    """The only block of that language below the heading "Galera"."""
    section = _DOCUMENT.read_text().partition("\n## Galera\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(found)


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old} is not once in doc/database.md"
    return text.replace(old, new)
