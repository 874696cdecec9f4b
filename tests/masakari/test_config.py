# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage convert-config: what Masakari was told, hacore is told, or somebody is."""

import pathlib
import re
from collections.abc import Callable

import pytest
from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.cmd import manage
from hacore.engine.flows import Flows
from hacore.errors import ConfigError
from hacore.masakari import options
from hacore.masakari.config import Converted, convert, read
from tests.masakari import FOLDER

#: A value that each of Masakari's own options may have, where its default is none.
VALUES = {
    "osapi_masakari_link_prefix": "https://ha.example.org",
    "tempdir": "/tmp",
    "os_region_name": "north",
    "nova_ca_certificates_file": "/etc/ssl/cloud.pem",
    "os_privileged_user_name": "ha",
    "os_privileged_user_password": "hunter2",
    "os_privileged_user_tenant": "service",
    "os_privileged_user_auth_url": "http://keystone:5000/v3",
    "os_system_scope": "all",
    "masakari_api_workers": "4",
    "state_path": "/var/lib/masakari",
    "host": "controller1",
}

Convert = Callable[..., Converted]


@pytest.fixture
def converted(tmp_path: pathlib.Path) -> Convert:
    """Convert files with these texts."""

    def run(*texts: str) -> Converted:
        files = [tmp_path / f"{number}.conf" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return convert(read([str(file) for file in files]), hacore_conf.list_opts())

    return run


def load(text: str, folder: pathlib.Path) -> cfg.ConfigOpts:
    """Read a configuration as hacore does, and check it."""
    file = folder / "hacore.conf"
    file.write_text(text)
    conf = cfg.ConfigOpts()
    hacore_conf.register(conf)
    conf([f"--config-file={file}"], project="hacore", default_config_dirs=[])
    hacore_conf.check(conf)
    return conf


def test_every_option_of_masakari_is_carried_over_or_named(
    converted: Convert, tmp_path: pathlib.Path
) -> None:
    """tests/masakari/masakari.conf is what its own generator lists."""
    lines, options = [], []
    group = ""
    for line in (FOLDER / "masakari.conf").read_text().splitlines():
        if line.startswith("["):
            group = line
            lines.append(line)
        elif set_ := re.fullmatch(r"#(\w+) = ?(.*)", line):
            name, value = set_.groups()
            options.append(f"{group} {name}")
            lines.append(f"{name} = {VALUES.get(name, value.replace('<None>', 'x'))}")
    assert len(options) > 70
    result = converted("\n".join(lines))
    left_out = [option for option, _ in result.left_out]
    assert len(set(left_out)) == len(left_out)
    assert set(left_out) <= set(options)
    carried = sum(len(names) for names in result.sections.values())
    # one more than there is: service_type, service_name and valid_interfaces of one option
    assert len(left_out) + carried - 2 == len(options)
    assert all(reason != "hacore does not have this option" for _, reason in result.left_out)

    conf = load(result.text(), tmp_path)
    hacore_conf.nova.check(conf)
    assert (conf.nova.username, conf.nova.password) == ("ha", "hunter2")
    assert (conf.nova.auth_url, conf.nova.region_name) == ("http://keystone:5000/v3", "north")
    assert (conf.nova.service_type, conf.nova.service_name) == ("compute", "nova")
    assert conf.nova.valid_interfaces == ["public"]
    assert conf.nova.cafile == "/etc/ssl/cloud.pem"
    assert (conf.api.listen, conf.api.port) == ("0.0.0.0", 15868)
    assert conf.host_failure_recovery_threads == 3
    assert conf.host == "controller1"


def test_its_task_lists_are_carried_over(converted: Convert, tmp_path: pathlib.Path) -> None:
    text = (FOLDER / "recovery.conf").read_text()
    result = converted("[DEFAULT]\nverify_interval = 2\n", text)
    assert result.left_out == []
    conf = load(result.text(), tmp_path)
    assert conf.verify_interval == 2
    assert conf.task_namespaces == ["hacore.task_flow.tasks"]
    assert [step.name for step in Flows(conf).steps("host-rh")] == [
        "disable_compute_service_task",
        "prepare_HA_enabled_instances_task",
        "evacuate_instances_task",
    ]


def test_tasks_of_others_bring_their_namespace(converted: Convert, tmp_path: pathlib.Path) -> None:
    result = converted(
        "[taskflow_driver_recovery_flows]\n"
        "process_failure_recovery_tasks = pre:['page_somebody'],main:['no_op'],post:[]\n"
    )
    assert "# install the packages of page_somebody beside hacore" in result.text()
    conf = load(result.text(), tmp_path)
    assert conf.task_namespaces == ["hacore.task_flow.tasks", "masakari.task_flow.tasks"]


def test_the_database_is_not_masakaris(converted: Convert) -> None:
    text = "[database]\nconnection = mysql+pymysql://masakari:hunter2@db:3307/masakari\n"
    result = converted(text + "max_pool_size = 7\n")
    assert [option for option, _ in result.left_out] == ["[database] connection"]
    assert "hunter2" not in result.text()
    assert "#connection = mysql+pymysql://hacore:SECRET@db:3307/hacore\n" in result.text()
    assert result.sections["database"] == {"max_pool_size": ["7"]}
    result = converted("[database]\nconnection = postgresql://masakari@db/masakari\n")
    assert "#connection = postgresql+psycopg2://hacore:SECRET@db/hacore\n" in result.text()


def test_libraries_are_carried_over(converted: Convert, tmp_path: pathlib.Path) -> None:
    result = converted(
        "[DEFAULT]\ntransport_url = rabbit://ha:pa$$word@mq\ndebug = true\n"
        "[keystone_authtoken]\nauth_type = v3password\nmemcached_servers = a:1,\n  b:2\n"
        "[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\n"
        "[oslo_messaging_notifications]\ndriver = messagingv2\ndriver = log\n"
    )
    assert result.left_out == []
    written = load(result.text(), tmp_path)
    assert written.debug is True
    again = read([str(tmp_path / "hacore.conf")])
    assert again["DEFAULT"]["transport_url"] == ["rabbit://ha:pa$$word@mq"]
    # the consumers of its events listen there
    assert again["DEFAULT"]["control_exchange"] == ["masakari"]
    assert again["keystone_authtoken"]["memcached_servers"] == ["a:1,\nb:2"]
    assert again["oslo_messaging_rabbit"] == {"rabbit_quorum_queue": ["true"]}
    assert again["oslo_messaging_notifications"]["driver"] == ["messagingv2", "log"]


def test_it_logs_in_to_nova_as_it_checks_tokens(converted: Convert) -> None:
    result = converted(
        "[DEFAULT]\nos_privileged_user_auth_url = http://keystone/v3\n"
        "[keystone_authtoken]\nauth_type = v3password\n"
    )
    assert result.sections["nova"] == {
        "auth_url": ["http://keystone/v3"],
        "user_domain_name": ["default"],
        "project_domain_name": ["default"],
        "valid_interfaces": ["public"],
        "auth_type": ["v3password"],
    }


def test_references_are_written_out(converted: Convert) -> None:
    result = converted(
        "[DEFAULT]\nstate_path = $base/masakari\nbase = /srv\n"
        "[oslo_policy]\npolicy_file = ${state_path}/policy.yaml\npolicy_dirs = $pybasedir/x\n"
        "[healthcheck]\ndisable_by_file_path = $healthcheck.disable_by_file_paths\n"
        "disable_by_file_paths = 1:$healthcheck.disable_by_file_path\n"
    )
    assert result.sections["oslo_policy"] == {"policy_file": ["/srv/masakari/policy.yaml"]}
    said = dict(result.left_out)
    assert "it refers to $pybasedir, which is not set" in said["[oslo_policy] policy_dirs"]
    assert "it refers to $" in said["[healthcheck] disable_by_file_path"]  # in a circle


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("wait_period_after_power_on = 0", "Should be greater than or equal to 1"),
        ("nova_catalog_admin_info = compute", "it is not of the form compute:nova:publicURL"),
        ("no_such_option = 1", "hacore does not have this option"),
        ("masakari_api_workers = 2", "run the API under uwsgi or gunicorn"),
    ],
)
def test_what_is_left_out_is_named(converted: Convert, line: str, reason: str) -> None:
    result = converted(f"[DEFAULT]\n{line}\n")
    ((option, said),) = result.left_out
    assert option == f"[DEFAULT] {line.partition(' ')[0]}"
    assert reason in said
    assert line not in result.text()


def test_a_task_whose_name_hacore_has_too_is_named(converted: Convert) -> None:
    text = (
        "[taskflow_driver_recovery_flows]\nhost_auto_failure_recovery_tasks = "
        "pre:['{}','disable_compute_service_task'],main:[],post:[]\n"
    )
    said = "register a task of your own under another name, or it never runs"
    assert said in converted(text.format("fence_compute_host_task")).text()
    assert said not in converted(text.format("no_op")).text()


def test_the_options_of_a_third_party_stay(converted: Convert) -> None:
    result = converted("[paging]\nnumber = 112\n")
    assert (
        "[paging]\n# not an option of hacore; kept for a third-party task that reads it\n"
        "number = 112"
    ) in result.text()
    assert result.left_out == []


def test_the_command(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "masakari.conf"
    file.write_text("[DEFAULT]\nverify_interval = 2\nuse_ssl = true\n")
    with pytest.raises(SystemExit) as ended:
        manage.main(["convert-config", str(file), str(FOLDER / "recovery.conf")])
    assert not ended.value.code
    shown = capsys.readouterr()
    assert shown.out.startswith("[DEFAULT]\nverify_interval = 2\n")
    first, *new = shown.err.splitlines()
    assert first == (
        "not converted: [DEFAULT] use_ssl: terminate TLS in a proxy; see [oslo_middleware] "
        "enable_proxy_headers_parsing."
    )
    assert new[0] == (
        "new in hacore: [mass_failure] max_share = 50: host recoveries are held (rule majority) "
        "while 3 or more hosts, and more than half of a segment or an availability zone, are "
        "missing; 0: no limit, as in Masakari."
    )
    assert len(new) == len(options.NEW)


def test_what_is_new_names_options_and_their_defaults(conf: cfg.ConfigOpts) -> None:
    named = [re.fullmatch(r"\[(\w+)\] (\w+) = (\d+)", what) for what in options.NEW]
    found = [match.groups() for match in named if match]
    assert len(found) == 3
    assert [str(conf[group][name]) for group, name, _ in found] == [text for *_, text in found]


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"Failed to read .*no\.conf"):
        read([str(tmp_path / "no.conf")])


def test_a_file_without_a_login_for_nova_says_so(tmp_path: pathlib.Path) -> None:
    """As OpenStack-Ansible writes it."""
    said = "# the file of Masakari has no login for Nova"
    file = tmp_path / "masakari.conf"
    for text, told in (("", True), ("os_privileged_user_auth_url = http://keystone/v3\n", False)):
        file.write_text(f"[DEFAULT]\n{text}")
        made = convert(read([str(file)]), hacore_conf.list_opts()).text()
        assert (said in made) == told
