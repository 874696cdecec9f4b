# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The configured task lists become flows, or a sentence."""

import sys
import uuid
from pathlib import Path

import pytest
import stevedore
from oslo_config import cfg

from hacore.api import recovery_details
from hacore.conf.recovery_flows import NAMESPACE
from hacore.db import history
from hacore.engine.flows import Flows
from hacore.errors import ConfigError
from hacore.states import NotificationStatus as Status
from tests.world import World

GROUP = "taskflow_driver_recovery_flows"
HOST = "host_auto_failure_recovery_tasks"
EXAMPLE = Path(__file__).parents[3] / "doc" / "examples" / "hacore-fencing-example"


def configure(conf: cfg.ConfigOpts, option: str = HOST, **lists: list[str]) -> None:
    conf.set_override(option, lists, group=GROUP)


def test_the_defaults_are_masakaris(conf: cfg.ConfigOpts) -> None:
    flows = Flows(conf)
    assert [(s.phase, s.name, s.distribution) for s in flows.steps("host-auto")] == [
        ("pre", "disable_compute_service_task", "hacore"),
        ("main", "prepare_HA_enabled_instances_task", "hacore"),
        ("post", "evacuate_instances_task", "hacore"),
    ]
    assert [s.name for s in flows.steps("instance")] == [
        "stop_instance_task",
        "start_instance_task",
        "confirm_instance_active_task",
    ]
    assert [s.name for s in flows.steps("process")] == [
        "disable_compute_node_task",
        "confirm_compute_node_disabled_task",
    ]


def test_an_unknown_task_names_option_word_and_what_is_known(conf: cfg.ConfigOpts) -> None:
    configure(conf, pre=["fence"], main=[], post=[])
    with pytest.raises(ConfigError) as caught:
        Flows(conf)
    said = str(caught.value)
    assert f"[{GROUP}] {HOST}" in said
    assert "'fence'" in said
    assert "disable_compute_service_task" in said


def test_an_unknown_phase(conf: cfg.ConfigOpts) -> None:
    configure(conf, before=["no_op"])
    with pytest.raises(ConfigError, match="unknown phase 'before'"):
        Flows(conf)


def test_an_empty_flow(conf: cfg.ConfigOpts) -> None:
    configure(conf, pre=[], main=[], post=[])
    with pytest.raises(ConfigError, match="lists no tasks"):
        Flows(conf)


def test_a_task_whose_requirement_nothing_provides(conf: cfg.ConfigOpts) -> None:
    configure(conf, main=["evacuate_instances_task"])
    with pytest.raises(ConfigError, match="EvacuateInstancesTask needs 'instance_list'"):
        Flows(conf)


def test_a_task_may_be_listed_twice(world: World) -> None:
    configure(
        world.conf,
        pre=["no_op", "disable_compute_service_task"],
        main=["no_op", "prepare_HA_enabled_instances_task"],
        post=["evacuate_instances_task"],
    )
    world.boot(1)
    world.kill()
    notification = world.notify()
    world.engine()
    assert world.recover(notification).status == Status.FINISHED
    assert world.story(notification).count("Nothing to do here.") == 2


BROKEN = """
from taskflow.task import Task

class Broken(Task):
    def execute(self):
        raise ZeroDivisionError("oh")
"""

UNDOABLE = """
from hacore.tasks.base import Task

class Undoable(Task):
    def execute(self):
        pass

    def revert(self, **_kwargs):
        self.update_details("reverted")

class Slow(Task):
    def execute(self):
        self.wait_until(lambda: None, 100, lambda: "too slow")
"""


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    code: str,
    *classes: str,
    namespace: str = NAMESPACE,
) -> None:
    """Another package, with tasks, is installed."""
    module = f"other_{uuid.uuid4().hex}"
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    points = [f"{name.lower()} = {module}:{name}" for name in classes]
    (info / "entry_points.txt").write_text("\n".join([f"[{namespace}]", *points]))
    monkeypatch.syspath_prepend(str(folder))
    # stevedore reads the entry points of a group once per process
    monkeypatch.setattr(stevedore.ExtensionManager, "ENTRY_POINT_CACHE", {})


def test_a_step_that_raises_anything_is_an_error_with_its_words(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, BROKEN, "Broken")
    configure(world.conf, main=["broken"])
    notification = world.notify()
    world.engine()
    ended = world.recover(notification)
    assert ended.status == Status.FAILED
    assert "Unhandled exception in a task: ZeroDivisionError: oh." in (ended.message or "")


def test_steps_are_reverted_when_one_fails_but_not_when_the_engine_stops(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, UNDOABLE, "Undoable", "Slow")
    configure(world.conf, main=["undoable", "slow"])
    notification = world.notify()
    world.engine("a")
    world.clock.at(10, lambda: world.stop_engine("a"))
    world.clock.at(20, lambda: world.engine("b"))
    world.clock.run(lambda: world.notification(notification).claim_number == 2)
    assert "reverted" not in world.story(notification)
    world.clock.run(lambda: world.notification(notification).status == Status.ERROR)
    assert world.story(notification).count("reverted") == 1
    with world.db.read() as session:
        details = {
            step["name"]: step["state"]
            for step in recovery_details.serialize(history.of(session, notification))
        }
    assert details == {"Undoable": "REVERTED", "Slow": "FAILURE"}
    assert "too slow" in (world.notification(notification).message or "")


def test_a_task_that_does_not_construct(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "class Odd:\n    def __init__(self): raise OSError('no such gate')\n"
    install(monkeypatch, tmp_path, code, "Odd")
    configure(conf, main=["odd"])
    with pytest.raises(ConfigError, match=r"'odd' of other_.* cannot be constructed: OSError: no"):
        Flows(conf)


def test_what_is_no_task(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "class Odd: pass\n", "Odd")
    configure(conf, main=["odd"])
    with pytest.raises(ConfigError, match="is a Odd, not a taskflow task"):
        Flows(conf)


def test_a_package_that_does_not_import(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "import no_such_module\n", "Odd")
    with pytest.raises(ConfigError, match=r"'odd' of other_.* cannot be loaded"):
        Flows(conf)


MASAKARIS = "masakari.task_flow.tasks"
FOR_MASAKARI = """
from taskflow.task import Task

class Announce(Task):
    def __init__(self, context, novaclient, **kwargs):
        super().__init__(requires=["host_name"])

    def execute(self, host_name):
        self.update_progress(0.5)

class No_op(Task):
    def execute(self):
        raise AssertionError("hacore has one of that name")
"""


def test_tasks_that_were_made_for_masakari(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, FOR_MASAKARI, "Announce", "No_op", namespace=MASAKARIS)
    world.conf.set_override("task_namespaces", [NAMESPACE, MASAKARIS])
    configure(world.conf, pre=["announce"], main=["no_op"])
    flows = Flows(world.conf)
    announce, no_op = flows.steps("host-auto")
    assert announce.distribution.startswith("other")
    assert no_op.distribution == "hacore"
    notification = world.notify()
    world.engine()
    assert world.recover(notification).status == Status.FINISHED
    with world.db.read() as session:
        details = {
            step["name"]: step["state"]
            for step in recovery_details.serialize(history.of(session, notification))
        }
    assert details == {"Announce": "SUCCESS", "NoOp": "SUCCESS"}


def test_tasks_of_masakari_are_not_known_unless_named(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, FOR_MASAKARI, "Announce", namespace=MASAKARIS)
    configure(conf, main=["announce"])
    with pytest.raises(
        ConfigError, match=r"unknown task 'announce' .* \[DEFAULT\] task_namespaces"
    ):
        Flows(conf)


def test_what_hacore_has_itself_is_not_imported_from_another(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when Masakari is still installed: importing its tasks registers its options."""
    install(monkeypatch, tmp_path, "raise ImportError", "No_op", namespace=MASAKARIS)
    conf.set_override("task_namespaces", [NAMESPACE, MASAKARIS])
    assert [step.distribution for step in Flows(conf).steps("process")] == ["hacore", "hacore"]


def test_one_name_of_two_packages(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, UNDOABLE, "Undoable", namespace=MASAKARIS)
    install(monkeypatch, tmp_path, UNDOABLE, "Slow", "Undoable", namespace=MASAKARIS)
    Flows(conf)  # of a group that nobody looks into
    conf.set_override("task_namespaces", [NAMESPACE, MASAKARIS])
    with pytest.raises(ConfigError) as caught:
        Flows(conf)
    first, second = sorted(path.stem for path in tmp_path.glob("other_*.py"))
    assert str(caught.value) == (
        f"[DEFAULT] task_namespaces: {first} and {second} both have a task 'undoable' in the "
        f"entry-point group '{MASAKARIS}', and which one would run is chance; uninstall one of "
        "them, or give its task another name."
    )


def test_a_name_of_hacore_in_the_group_of_hacore(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another package must not take the place of one of hacore's own tasks."""
    install(monkeypatch, tmp_path, FOR_MASAKARI, "No_op")
    with pytest.raises(ConfigError, match=r"hacore and other_\w+ both have a task 'no_op' in"):
        Flows(conf)


def test_a_namespace_in_which_nothing_is(conf: cfg.ConfigOpts) -> None:
    conf.set_override("task_namespaces", [NAMESPACE, "masakari.taskflow"])
    with pytest.raises(
        ConfigError, match=r"no installed package has tasks in .*'masakari\.taskflow'"
    ):
        Flows(conf)


#: A machine that switches itself off the second time that it is asked for its status.
_MACHINE = """\
import pathlib, sys
verb, asked, ends = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] == "ends"
if verb == "status":
    asked.write_text(asked.read_text() + "x" if asked.exists() else "x")
    print("Chassis Power is", "off" if ends and len(asked.read_text()) > 1 else "on")
"""


@pytest.mark.parametrize("ends", [True, False])
def test_the_example_reads_back_that_the_host_is_off(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: bool
) -> None:
    """That the command ends with 0 means that the order was accepted."""
    code = (EXAMPLE / "hacore_fencing_example.py").read_text()
    install(monkeypatch, tmp_path, code, "ExampleFenceTask")
    machine = tmp_path / "machine.py"
    machine.write_text(_MACHINE)
    asked = tmp_path / "asked"
    command = f"{sys.executable} {machine} {{}} {asked} {'ends' if ends else 'stays'}"
    file = tmp_path / "hacore.conf"
    file.write_text(
        "[example_fence]\n"
        f"off_command = {command.format('off')}\n"
        f"status_command = {command.format('status')}\n"
        "[taskflow_driver_recovery_flows]\n"
        "host_auto_failure_recovery_tasks = "
        "pre:['examplefencetask','disable_compute_service_task'],"
        "main:['prepare_HA_enabled_instances_task'],post:['evacuate_instances_task']\n"
    )
    world.conf([], project="hacore", default_config_files=[str(file)], default_config_dirs=[])
    world.boot(1)
    world.kill()
    uuid = world.notify()
    world.conf.set_override("max_recovery_attempts", 1)
    world.engine()
    ended = world.recover(uuid)
    if ends:
        assert ended.status == Status.FINISHED, ended.message
        assert len(asked.read_text()) == 2
        assert world.service().forced_down  # the next step was told that the host is off
    else:
        assert ended.status == Status.FAILED
        assert "is not off after 60 s: its status is 'Chassis Power is on'" in (ended.message or "")
        assert not world.service().forced_down
