# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A daemon with a wrong configuration does not start, and says why in one sentence.

Each of them is run as the operator runs it.  An ``…`` in a sentence stands for
what a library says, and a name in braces for what differs from run to run.
"""

import importlib
import pathlib
import re
import socket
import sqlite3
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from hacore.conf import default
from tests.servers import free_port
from tests.unit import processes
from tests.unit.processes import Configuration

FLOWS = "taskflow_driver_recovery_flows"
KNOWN = (
    "confirm_compute_node_disabled_task, confirm_evacuations_completed_task, "
    "confirm_host_heard_task, confirm_host_ready_task, confirm_instance_active_task, "
    "disable_compute_node_task, disable_compute_service_task, enable_compute_service_task, "
    "end_maintenance_task, evacuate_instances_task, fence_compute_host_task, "
    "force_up_compute_service_task, no_op, prepare_HA_enabled_instances_task, "
    "settle_instances_task, start_instance_task, stop_instance_task; tasks of other packages must "
    "be in an entry-point group that [DEFAULT] task_namespaces lists"
)


@pytest.fixture(scope="module")
def nova(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with processes.sandbox(tmp_path_factory.mktemp("sandbox")) as login:
        yield login


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A database that a daemon is content with."""
    path = tmp_path_factory.mktemp("database") / "hacore.sqlite"
    processes.make_tables(f"sqlite:///{path}")
    return path


class Operator:
    """Writes configurations and starts daemons."""

    def __init__(self, folder: pathlib.Path, nova: dict[str, str], tables: pathlib.Path) -> None:
        self.folder = folder
        self.file = folder / "hacore.conf"
        self.port = free_port()
        self.nothing = free_port()  # nothing listens there
        self.right: Configuration = {
            "DEFAULT": {
                "auth_strategy": "noauth2",
                "state_path": folder,
                "transport_url": "fake://",
            },
            "api": {"port": self.port},
            "database": {"connection": f"sqlite:///{tables}"},
            "nova": nova,
        }

    def refused(
        self, daemon: str, changes: Configuration, sentence: str, **environment: str
    ) -> None:
        """Start `daemon` with `changes` to the right configuration; it must say `sentence`."""
        processes.write(self.file, processes.changed(self.right, changes))
        self.ends_with(daemon, f"{daemon}: {sentence}", **environment)

    def ends_with(self, daemon: str, sentence: str, **environment: str) -> None:
        ended = processes.run(self.folder, [daemon, f"--config-file={self.file}"], environment)
        self.check(ended, sentence)

    def check(self, ended: processes.Ended, sentence: str) -> None:
        facts = {"conf": self.file, "port": self.port, "nothing": self.nothing}
        wanted = re.escape(sentence.format(**facts) + "\n").replace("…", "[^\n]*")
        assert re.fullmatch(wanted, ended.error), ended.error
        assert ended.status == 1
        assert ended.output == ""
        assert ended.told == []


@pytest.fixture
def operator(tmp_path: pathlib.Path, nova: dict[str, str], tables: pathlib.Path) -> Operator:
    return Operator(tmp_path, nova, tables)


@pytest.mark.parametrize(
    ("daemon", "changes", "sentence"),
    [
        pytest.param(
            "hacore-engine",
            {"DEFAULT": {"claim_lease": "soon"}},
            "Option [DEFAULT] claim_lease is wrong: 'soon' is not a whole number; correct it in "
            "{conf}.",
            id="not a number",
        ),
        pytest.param(
            "hacore-engine",
            {"DEFAULT": {"claim_lease": 1}},
            "Option [DEFAULT] claim_lease is wrong: Should be greater than or equal to 3; correct "
            "it in {conf}.",
            id="too small",
        ),
        pytest.param(
            "hacore-standalone",
            {"host_failure": {"force_down": "sometimes"}},
            "Option [host_failure] force_down is wrong: Valid values are [never, after_fencing, "
            "always], but found 'sometimes'; correct it in {conf}.",
            id="unknown choice",
        ),
        pytest.param(
            "hacore-api",
            {"oslo_middleware": {"max_request_body_size": "big"}},
            "Option [oslo_middleware] max_request_body_size is wrong: 'big' is not a whole "
            "number; correct it in {conf}.",
            id="an option of a library",
        ),
        pytest.param(
            "hacore-engine",
            {"DEFAULT": {"log_file": "/nowhere/hacore.log"}},
            "Failed to open the log: …; correct [DEFAULT] log_file, log_dir or "
            "log_config_append in {conf}.",
            id="log in no folder",
        ),
        pytest.param(
            "hacore-api",
            {"DEFAULT": {"transport_url": "rabit://localhost"}},
            "Option [DEFAULT] transport_url is wrong: Failed to load transport driver …; "
            "expected, for example, rabbit://user:password@host.",
            id="unknown message bus",
        ),
        pytest.param(
            "hacore-engine",
            {"database": {"connection": None}},
            "Option [database] connection is not set in {conf}; set it, for example, to "
            "mysql+pymysql://hacore:secret@dbhost/hacore.",
            id="no database",
        ),
        pytest.param(
            "hacore-api",
            {"database": {"connection": "mysql+pymysql://root@127.0.0.1:{nothing}/hacore"}},
            "The database is unavailable: …Can't connect to MySQL server on '127.0.0.1' …; check "
            "[database] connection, and the database server.",
            id="MariaDB away",
        ),
        pytest.param(
            "hacore-engine",
            {"database": {"connection": "postgresql+psycopg2://root@127.0.0.1:{nothing}/hacore"}},
            "…Connection refused…; check …, and the database server.",
            id="PostgreSQL away",
        ),
        pytest.param(
            "hacore-engine",
            {"database": {"connection": "maria://root@127.0.0.1/hacore"}},
            "Option [database] connection does not work: Can't load plugin: "
            "sqlalchemy.dialects:maria; check it, and the database server.",
            id="unknown kind of database",
        ),
        pytest.param(
            "hacore-standalone",
            {"DEFAULT": {"state_path": "/nowhere"}, "database": {"connection": None}},
            "Folder /nowhere for the database not found; create it, or set [DEFAULT] state_path.",
            id="no folder for the database",
        ),
        pytest.param(
            "hacore-engine",
            {FLOWS: {"process_failure_recovery_tasks": "pre:['disable_compute_nod_task']"}},
            f"[{FLOWS}] process_failure_recovery_tasks: unknown task "
            f"'disable_compute_nod_task' (in pre); known tasks are {KNOWN}.",
            id="unknown task",
        ),
        pytest.param(
            "hacore-engine",
            {FLOWS: {"process_failure_recovery_tasks": "before:['no_op']"}},
            f"[{FLOWS}] process_failure_recovery_tasks: unknown phase 'before'; "
            "valid phases are pre, main, post.",
            id="unknown phase",
        ),
        pytest.param(
            "hacore-engine",
            {FLOWS: {"instance_failure_recovery_tasks": "stop_instance_task"}},
            f"Option [{FLOWS}] instance_failure_recovery_tasks is wrong: 'stop_instance_task' is "
            "not of the form pre:['a_task'],main:['another','a_third'],post:[] (…); correct it in "
            "{conf}.",
            id="no task list",
        ),
        pytest.param(
            "hacore-engine",
            {FLOWS: {"instance_failure_recovery_tasks": "pre:['stop_instance_task',main:[]"}},
            f"[{FLOWS}] instance_failure_recovery_tasks: unknown task 'main:[' (in pre); "
            f"known tasks are {KNOWN}.",
            id="bracket forgotten",
        ),
        pytest.param(
            "hacore-standalone",
            {FLOWS: {"host_auto_failure_recovery_tasks": "pre:['stop_instance_task']"}},
            f"[{FLOWS}] host_auto_failure_recovery_tasks: task StopInstanceTask needs "
            "'instance_uuid', which neither the engine nor an earlier task provides; the engine "
            "provides host_name, notification_uuid, payload.",
            id="task of another flow",
        ),
        pytest.param(
            "hacore-engine",
            {"nova": {"auth_type": "pasword"}},
            "Option [nova] auth_type is 'pasword'; set it to password, or one of …, with the "
            "options of that login.",
            id="unknown kind of login",
        ),
        pytest.param(
            "hacore-engine",
            {"nova": {"auth_type": "v3kerberos"}},
            "Option [nova] auth_type is 'v3kerberos', which cannot be loaded (it is not "
            "available); install the packages that it needs, or set it to password.",
            id="login lacks a package",
        ),
        pytest.param(
            "hacore-engine",
            {"nova": {"auth_url": None}},
            "Option [nova] auth_url is not set; auth_type = password requires it.",
            id="login incomplete",
        ),
        pytest.param(
            "hacore-engine",
            {"nova": {"valid_interfaces": "sideways"}},
            "The options of [nova] contradict each other: 'sideways' is not a valid value for "
            "valid_interfaces. ….",
            id="unknown interface",
        ),
        pytest.param(
            "hacore-engine",
            {"nova": {"password": "wrong"}},
            "Failed to log in to Nova: …requires authentication…; check the login in [nova].",
            id="wrong password",
        ),
        pytest.param(
            "hacore-standalone",
            {"nova": {"auth_url": "http://127.0.0.1:{nothing}/identity/v3"}},
            "Keystone or Nova is unavailable: Unable to establish connection to "
            "http://127.0.0.1:{nothing}/identity/v3…: [Errno 111] …; check [nova] "
            "auth_url and that both are running.",
            id="no Keystone",
        ),
        pytest.param(
            "hacore-engine",
            {"nova": {"region_name": "RegionTwo"}},
            "Failed to log in to Nova: …endpoint for compute service in RegionTwo region not "
            "found; check [nova] region_name and valid_interfaces against the service catalog.",
            id="unknown region",
        ),
        pytest.param(
            "hacore-api",
            {"api": {"listen": "0.0.0.0"}},
            "[DEFAULT] auth_strategy = noauth2 lets anybody who can reach 0.0.0.0 evacuate hosts: "
            "set [api] listen = 127.0.0.1, or auth_strategy = keystone, or [api] "
            "allow_noauth_everywhere = true if that is intended.",
            id="open to anybody",
        ),
        pytest.param(
            "hacore-api",
            {"DEFAULT": {"auth_strategy": "keystone"}},
            "Option [keystone_authtoken] auth_type is not set; set it to password, or one of "
            "…, with the options of that login.",
            id="tokens that nobody can check",
        ),
        pytest.param(
            "hacore-api",
            {"oslo_policy": {"policy_file": "/nowhere/policy.yaml"}},
            "[oslo_policy] policy_file names /nowhere/policy.yaml, which does not exist; correct "
            "/nowhere/policy.yaml ([oslo_policy] policy_file) or the files in policy_dirs.",
            id="no policy file",
        ),
    ],
)
def test_wrong_option(
    operator: Operator, daemon: str, changes: Configuration, sentence: str
) -> None:
    changes = {
        group: {
            name: value.format(nothing=operator.nothing) if isinstance(value, str) else value
            for name, value in options.items()
        }
        for group, options in changes.items()
    }
    operator.refused(daemon, changes, sentence)


def test_no_driver_for_postgresql(operator: Operator) -> None:
    modules = operator.folder / "modules"
    modules.mkdir()
    missing = "raise ModuleNotFoundError(\"No module named 'psycopg2'\", name='psycopg2')\n"
    (modules / "psycopg2.py").write_text(missing)
    operator.refused(
        "hacore-engine",
        {"database": {"connection": "postgresql+psycopg2://root@127.0.0.1/hacore"}},
        "The driver of [database] connection is not installed: No module named 'psycopg2'; for "
        "PostgreSQL run: pip install 'hacore[postgresql]'",
        PYTHONPATH=str(modules),
    )


def test_no_configuration_file(operator: Operator) -> None:
    operator.ends_with(
        "hacore-engine",
        "hacore-engine: Configuration file {conf} not found; create it, or name another with "
        "--config-file.",
    )


def test_a_file_that_is_no_configuration(operator: Operator) -> None:
    operator.file.write_text("[DEFAULT]\nwhat is this\n")
    operator.ends_with(
        "hacore-standalone",
        "hacore-standalone: Failed to parse the configuration file {conf}: at {conf}:2, No ':' or "
        "'=' found in assignment: 'what is this'; correct it.",
    )


def test_wrong_value_in_the_environment(operator: Operator) -> None:
    operator.refused(
        "hacore-engine",
        {},
        "Option [DEFAULT] verify_interval is wrong: 'often' is not a number; correct it in "
        "OS_DEFAULT__VERIFY_INTERVAL.",
        OS_DEFAULT__VERIFY_INTERVAL="often",
    )


def test_unknown_concurrency(operator: Operator) -> None:
    processes.write(operator.file, operator.right)
    operator.ends_with(
        "hacore-api",
        "The concurrency backend 'fibers' is unknown; set HACORE_CONCURRENCY or [DEFAULT] "
        "concurrency_backend to one of: threading, eventlet.",
        HACORE_CONCURRENCY="fibers",
    )


def test_database_without_tables(operator: Operator) -> None:
    operator.refused(
        "hacore-engine",
        {"database": {"connection": f"sqlite:///{operator.folder}/empty.sqlite"}},
        "The database has no tables of hacore; run 'hacore-manage db sync'.",
    )


def test_database_of_a_newer_hacore(operator: Operator) -> None:
    path = operator.folder / "newer.sqlite"
    processes.make_tables(f"sqlite:///{path}")
    database = sqlite3.connect(path)
    ((newest,),) = database.execute("SELECT version_num FROM alembic_version")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    operator.refused(
        "hacore-engine",
        {"database": {"connection": f"sqlite:///{path}"}},
        f"The database has schema 9999 of a newer version of hacore (this version knows up to "
        f"{newest}); install the newer version on this host too.",
    )


def test_port_in_use(operator: Operator, nova: dict[str, str]) -> None:
    taken = int(nova["auth_url"].split(":")[2].split("/")[0])
    for daemon in ("hacore-api", "hacore-standalone"):
        operator.refused(
            daemon,
            {"api": {"port": taken}},
            f"Cannot listen on 127.0.0.1 port {taken}: Address already in use; change [api] "
            "listen or port, or stop the process using that port.",
        )


def test_unreadable_policy(operator: Operator) -> None:
    policy = operator.folder / "policy.yaml"
    policy.write_text("os_masakari_api:segments:index: [\n")
    operator.refused(
        "hacore-api",
        {"oslo_policy": {"policy_file": policy}},
        f"The policy files cannot be read: …; correct {policy} ([oslo_policy] policy_file) or "
        "the files in policy_dirs.",
    )


#: A third party's module with a task, and what is said of it in a flow.
THIRD_PARTY = {
    "cannot be imported": (
        "import acme_ipmi\n",
        "Task 'acme_fence' of acme-steps cannot be loaded from acme_steps:Fence: No module named "
        "'acme_ipmi'.",
    ),
    "cannot be constructed": (
        "from taskflow import task\n\n\nclass Fence(task.Task):\n"
        "    def __init__(self, context):\n"
        "        super().__init__()\n"
        "        self.rack = context.conf.acme.rack\n\n"
        "    def execute(self):\n"
        "        pass\n",
        "Task 'acme_fence' of acme-steps cannot be constructed: AttributeError: 'NoneType' object "
        "has no attribute 'conf' (at start a task is constructed once with context and "
        "novaclient None).",
    ),
    "is no task": (
        "class Fence:\n    pass\n",
        "Task 'acme_fence' of acme-steps is a Fence, not a taskflow task.",
    ),
    "needs what nobody provides": (
        "from taskflow import task\n\n\nclass Fence(task.Task):\n"
        "    def execute(self, host_name, rack):\n"
        "        pass\n",
        f"[{FLOWS}] host_auto_failure_recovery_tasks: task Fence needs 'rack', which neither the "
        "engine nor an earlier task provides; the engine provides host_name, notification_uuid, "
        "payload.",
    ),
}


@pytest.mark.parametrize("what", THIRD_PARTY)
def test_task_of_a_third_party(operator: Operator, what: str) -> None:
    source, sentence = THIRD_PARTY[what]
    installed = operator.folder / "site"
    metadata = installed / "acme_steps-1.0.dist-info"
    metadata.mkdir(parents=True)
    (installed / "acme_steps.py").write_text(source)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-steps\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[hacore.task_flow.tasks]\nacme_fence = acme_steps:Fence\n"
    )
    flow = "pre:['acme_fence','disable_compute_service_task'],main:[],post:[]"
    operator.refused(
        "hacore-engine",
        {FLOWS: {"host_auto_failure_recovery_tasks": flow}},
        sentence,
        PYTHONPATH=str(installed),
    )


def test_a_machine_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is no host name: nothing could start where it was the default of an option."""
    monkeypatch.setattr(socket, "gethostname", lambda: "rack_1")
    importlib.reload(default)
    options = cfg.ConfigOpts()
    options.register_opts(default.common)
    options([], default_config_files=[], default_config_dirs=[])
    assert options.host == "rack_1"
    with pytest.raises(ValueError, match="rack 1"):
        options.set_override("host", "rack 1")
    monkeypatch.undo()
    importlib.reload(default)
