# Licensed under the Apache License, Version 2.0; see LICENSE.
"""fencing.ini: what it says, and the one sentence for each way to have it wrong."""

import os
import pathlib
import re

import pytest

from hacore.errors import ConfigError
from hacore.fencing import file
from hacore.fencing.devices import Device, Devices
from hacore.fencing.programs import Programs
from tests.unit.fencing.conftest import Agents, Read

SECRET = "hunter2-and-more"
FAKE = f"agent = fence_fake\nip = {{host}}-bmc\nusername = u\npassword = {SECRET}\n"


def only(devices: Devices, host: str) -> Device:
    ((device,),) = devices.of(host)
    return device


def test_a_class_and_its_exception(read: Read) -> None:
    devices = read(
        "# a comment\n[hacore]\nregion = RegionOne\n"
        f"[fake]\nhosts = compute-*\nlevel = 2\n{FAKE}"
        "[fake compute-7]\nip = 10.0.0.77\nlevel = 1\n"
    )
    assert devices.region == "RegionOne"
    device = only(devices, "compute-1")
    assert (device.name, device.level, device.agent.name) == ("fake", 2, "fence_fake")
    assert device.options["ip"] == "compute-1-bmc"
    assert device.options["password"] == SECRET
    assert device.problem is None
    assert only(devices, "compute-7").options["ip"] == "10.0.0.77"
    assert only(devices, "compute-7").level == 1
    assert only(devices, "compute-7").options["username"] == "u"


@pytest.mark.parametrize("host", ["compute", "a-compute-1", "COMPUTE-1", "ompute-1"])
def test_whole_names_are_compared(read: Read, host: str) -> None:
    assert read(f"[fake]\nhosts = compute-* compute-1\n{FAKE}").of(host) == ()


def test_a_short_name_is_another_host(read: Read) -> None:
    assert read(f"[fake]\nhosts = compute-1\n{FAKE}").of("compute-1.example") == ()


def test_levels(read: Read) -> None:
    pdu = "agent = fence_fake\nlevel = 2\nhosts = c1 c2\n"
    devices = read(
        f"[pdu-a]\nip = a\n{pdu}plugs = c1:3\n c2:4,5\n[pdu-b]\nip = b\n{pdu}plugs = c2:3 c1:4\n"
        f"[fake]\nhosts = c1\n{FAKE}"
    )
    first, second = devices.of("c1")
    assert [device.name for device in first] == ["fake"]
    assert [(device.name, device.options["plug"]) for device in second] == [
        ("pdu-a", "3"),
        ("pdu-b", "4"),
    ]
    assert devices.named() == ["c1", "c2"]


@pytest.mark.parametrize("password", ["a#b", "a;b", "a%b%(c)s", "a=b:c", '"', "{host}", "a b"])
def test_a_password_is_taken_as_it_is(read: Read, password: str) -> None:
    devices = read(f"[fake]\nhosts = c1\n{FAKE}".replace(SECRET, password))
    assert only(devices, "c1").options["password"] == password


HOSTS = "[fake]\nhosts = c1\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f"[fake]\n{FAKE}",
            "[fake] hosts: no host is named; write names or patterns such as compute-*.",
        ),
        (
            f"{HOSTS}ip = a\n",
            "[fake] agent: no agent is named; write agent = fence_redfish, or another one.",
        ),
        (
            f"{HOSTS}agent = fence_none\n",
            "[fake] agent: the agent fence_none is not in SBIN; install the package of the fence "
            "agents on every controller.",
        ),
        (
            f"{HOSTS}agent = /opt/fence_fake\n",
            "[fake] agent: '/opt/fence_fake' is not the name of an agent, such as fence_redfish; "
            "agents are looked for in SBIN only.",
        ),
        (
            f"{HOSTS}agent = ../../fence_fake\n",
            "[fake] agent: '../../fence_fake' is not the name of an agent, such as "
            "fence_redfish; agents are looked for in SBIN only.",
        ),
        (
            f"{HOSTS}{FAKE}level = high\n",
            "[fake] level: 'high' is not a number from 1 to 9; correct it.",
        ),
        (
            f"{HOSTS}{FAKE}identiti = x\n",
            "[fake] identiti: fence_fake has no such option and would ignore it; see man "
            "fence_fake.",
        ),
        (
            f"{HOSTS}{FAKE}login = x\n",
            "[fake] login: it is the old name of username; write the new one.",
        ),
        (
            f"{HOSTS}{FAKE}action = reboot\n",
            "[fake] action: hacore sets it for each call; delete the key.",
        ),
        (
            f"{HOSTS}{FAKE}verbose = 1\n",
            "[fake] verbose: hacore sets it for each call; delete the key.",
        ),
        (
            f"{HOSTS}{FAKE}ssl_insecure = 1\n",
            "[fake] ssl_insecure: the password would go to whoever answers; delete the key, and "
            "put the certificate of the device into the file that REQUESTS_CA_BUNDLE names.",
        ),
        (
            f"{HOSTS}{FAKE}ipmitool_path = /tmp/ipmitool\n",
            "[fake] ipmitool_path: it names a program to run, or stands on the command line of "
            "one; delete the key.",
        ),
        (
            f"{HOSTS}{FAKE}plug = a\n action=reboot\n",
            "[fake] plug: it has a second line or a control character; put the value on one line.",
        ),
        (
            f"{HOSTS}{FAKE}identity = x\n",
            "[fake] identity: fence_fake does not show which box it switches; delete the key.",
        ),
        (
            f"{HOSTS}agent = fence_fake\nport_as_ip = 1\n",
            "[fake] port_as_ip: fence_fake has no such option and would ignore it; see man "
            "fence_fake.",
        ),
        (
            f"{HOSTS}agent = fence_fake\nusername = u\n",
            "[fake] has no ip for c1: write it into [fake c1].",
        ),
        (
            f"[fake]\nhosts = c1 c2\n{FAKE}plugs = c1:1\n",
            "[fake] plugs has no plug for c2: add c2:PLUG.",
        ),
        (
            f"{HOSTS}{FAKE}plugs = c1\n",
            "[fake] plugs: 'c1' is not HOST:PLUG, once for each host; correct it.",
        ),
        (
            f"{HOSTS}{FAKE}plugs = c1:1 c1:2\n",
            "[fake] plugs: 'c1:2' is not HOST:PLUG, once for each host; correct it.",
        ),
        (
            f"{HOSTS}{FAKE}plugs = c1:1\nplug = 2\n",
            "[fake] plug: plugs names the plug of each host; delete one of the two.",
        ),
        (
            f"{HOSTS}{FAKE}[fake c2]\nip = x\n",
            "[fake] hosts: c2 is named below, and is no host of this class; add it.",
        ),
        (
            f"[fake]\nhosts = c1 -x\n{FAKE}",
            "[fake] hosts: '-x' cannot be used for fencing: only letters, digits and . _ - are "
            "let through, and no - at the beginning.",
        ),
        (
            f"[fake]\nhosts = c1;reboot\n{FAKE}",
            "[fake] hosts: 'c1;reboot' cannot be used for fencing: only letters, digits and . _ "
            "- are let through, and no - at the beginning.",
        ),
        (
            f"[fake]\nhosts = c*\n{FAKE}".replace("{host}-", ""),
            "[fake] hosts: every host of the pattern would have one device, and be switched off "
            "for any other; put {host} into ip or systems_uri, or use plugs.",
        ),
        (
            f"[fake]\nhosts = c1 c2\n{FAKE}".replace("{host}-", ""),
            "c1 and c2 have the same device, fake (fence_fake at bmc): one would be switched off "
            "for the other; correct ip, ipport, systems_uri or plug in [fake].",
        ),
        (
            f"{HOSTS}{FAKE}[other]\nhosts = c2\n{FAKE}ipport = \n".replace("{host}-", ""),
            "c1 and c2 have the same device, other (fence_fake at bmc): one would be switched "
            "off for the other; correct ip, ipport, systems_uri or plug in [other].",
        ),
        (
            "[pdu]\nhosts = c1 c2\nagent = fence_fake\nip = a\nplugs = c1:1,2 c2:2\n",
            "c1 and c2 have the same device, pdu (fence_fake at a): one would be switched off for "
            "the other; correct ip, ipport, systems_uri or plug in [pdu].",
        ),
        (
            f"[fake c1]\nip = x\n{HOSTS}{FAKE}",
            "[fake c1]: there is no section [fake] above it; put the exception below its class.",
        ),
        (
            f"{HOSTS}{FAKE}[fake c1]\nhosts = c2\n",
            "[fake c1] hosts: this is a key of the class alone; put it into [fake].",
        ),
        (
            f"{HOSTS}{FAKE}[fake c1]\npasswd = x\n",
            "[fake c1] passwd: fence_fake has no such option and would ignore it; see man "
            "fence_fake.",
        ),
        (
            f"{HOSTS}{FAKE}[fake c1]\nagent = fence_none\n",
            "[fake c1] agent: the agent fence_none is not in SBIN; install the package of the "
            "fence agents on every controller.",
        ),
        (
            f"{HOSTS}{FAKE}[fake c1 c2]\nip = x\n",
            "[fake c1 c2]: a section is [CLASS], or [CLASS HOST] for one host of it; correct it.",
        ),
        (
            "[hacore]\nlevel = 1\n",
            "[hacore] level: this section has the key region alone; delete the other.",
        ),
        (
            f"[DEFAULT]\npassword = {SECRET}\n{HOSTS}{FAKE}",
            "[DEFAULT] hosts: no host is named; write names or patterns such as compute-*.",
        ),
        (f"{HOSTS}{FAKE}{HOSTS}", "line 7: [fake] is there twice; make it one section."),
        (
            f"{HOSTS}{FAKE}password = {SECRET}\n",
            "line 7: [fake] has password twice; delete one.",
        ),
        (
            f"password = {SECRET}\n",
            "line 1 is in no section; write a line such as [idrac] above it.",
        ),
        (f"{HOSTS}{FAKE}\n{SECRET}\n", "line 8 is not KEY = VALUE; correct it."),
    ],
)
def test_a_wrong_file(
    read: Read, agents: Agents, fencing_ini: pathlib.Path, text: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    said = str(caught.value).replace(str(agents.folder), "SBIN")
    assert re.sub(rf"^{re.escape(str(fencing_ini))}[,:] ", "", said) == sentence
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("fence_redfish", "", "systems_uri: fence_redfish switches off the last system"),
        ("fence_ipmilan", "cipher = 3\n", "lanplus: fence_ipmilan may speak IPMI 1.5"),
        ("fence_idrac", "lanplus = 0\ncipher = 3\n", "lanplus: fence_idrac may speak IPMI 1.5"),
        ("fence_ipmilan", "lanplus = 1\n", "cipher: ipmitool may ask for it"),
        (
            "fence_redfish",
            "systems_uri = /a\nidentity = To be filled by O.E.M.\n",
            "identity: many boxes show this value; write another one, or delete it.",
        ),
    ],
)
def test_what_an_agent_needs(
    read: Read, agents: Agents, name: str, more: str, sentence: str
) -> None:
    agents.install(name)
    with pytest.raises(ConfigError) as caught:
        read(f"{HOSTS}{FAKE}{more}".replace("fence_fake", name))
    assert f"[fake] {sentence}" in str(caught.value)


def test_an_identity_is_that_of_one_host(read: Read, agents: Agents) -> None:
    agents.install("fence_redfish")
    redfish = FAKE.replace("fence_fake", "fence_redfish") + "systems_uri = /a\n"
    with pytest.raises(ConfigError, match=r"identity: it is that of one host; put it into \[fake"):
        read(f"[fake]\nhosts = c*\n{redfish}identity = abc\n")
    with pytest.raises(ConfigError, match="c1 and c2 have one identity, abc: correct it in"):
        read(f"[fake]\nhosts = c*\n{redfish}[fake c1]\nidentity = ABC\n[fake c2]\nidentity = abc\n")
    assert only(read(f"{HOSTS}{redfish}identity = abc\n"), "c1").identity == "abc"


def test_options_are_looked_at_by_the_agent(read: Read, agents: Agents) -> None:
    path = agents.install("fence_strict")
    path.write_text(path.read_text().replace('"ip" not in given', "True"))
    with pytest.raises(ConfigError) as caught:
        read(f"{HOSTS}{FAKE}".replace("fence_fake", "fence_strict"))
    assert str(caught.value).endswith(
        "[fake]: fence_strict refuses these options (Failed: You have to enter fence address); "
        "correct them."
    )


@pytest.mark.parametrize("name", ["fence_ack_manual", "fence_compute", "fence_kdump", "fence_scsi"])
def test_an_agent_that_proves_nothing(read: Read, agents: Agents, name: str) -> None:
    agents.install(name)
    with pytest.raises(ConfigError, match=rf"agent: {name} proves nothing about the power"):
        read(f"{HOSTS}{FAKE}".replace("fence_fake", name))


def test_a_link_to_an_agent_that_proves_nothing(read: Read, agents: Agents) -> None:
    agents.install("fence_dummy")
    (agents.folder / "fence_link").symlink_to(agents.folder / "fence_dummy")
    with pytest.raises(ConfigError, match="fence_link is fence_dummy, which proves nothing"):
        read(f"{HOSTS}{FAKE}".replace("fence_fake", "fence_link"))


def test_a_copy_of_an_agent_that_proves_nothing(read: Read, agents: Agents) -> None:
    agents.install("fence_copy", known_as="fence_dummy")
    with pytest.raises(ConfigError, match="fence_copy is fence_dummy, which proves nothing"):
        read(f"{HOSTS}{FAKE}".replace("fence_fake", "fence_copy"))


def test_an_agent_that_links_to_another_folder(
    read: Read, agents: Agents, tmp_path: pathlib.Path
) -> None:
    agents.install("fence_outside").rename(tmp_path / "fence_outside")
    (agents.folder / "fence_outside").symlink_to(tmp_path / "fence_outside")
    with pytest.raises(ConfigError, match=r"is a link to .*fence_outside, outside .*; install the"):
        read(f"{HOSTS}{FAKE}".replace("fence_fake", "fence_outside"))


def test_an_agent_without_status(read: Read, agents: Agents) -> None:
    agents.install("fence_blind", actions=("off", "reboot"))
    with pytest.raises(ConfigError, match="fence_blind has no action status, so it proves nothing"):
        read(f"{HOSTS}{FAKE}".replace("fence_fake", "fence_blind"))


def test_an_agent_that_does_not_describe_itself(read: Read, agents: Agents) -> None:
    agents.install("fence_mute").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(ConfigError, match="fence_mute does not describe itself"):
        read(f"{HOSTS}{FAKE}".replace("fence_fake", "fence_mute"))


class TestAccess:
    """Who else may have written it, or may read it."""

    @pytest.fixture(autouse=True)
    def _text(self, fencing_ini: pathlib.Path, agents: Agents, programs: Programs) -> None:
        fencing_ini.write_text(f"{HOSTS}{FAKE}")
        self.path, self.programs, self.folders = fencing_ini, programs, [str(agents.folder)]

    def read(self, path: pathlib.Path | None = None) -> Devices:
        return file.read(str(path or self.path), self.programs, self.folders)

    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o641])
    def test_others(self, mode: int) -> None:
        self.path.chmod(mode)
        with pytest.raises(ConfigError) as caught:
            self.read()
        assert str(caught.value) == (
            f"{self.path} holds passwords and others may use it (mode {mode:04o}); run chmod o= "
            f"{self.path}."
        )

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
    def test_owner_and_group(self, mode: int) -> None:
        self.path.chmod(mode)
        assert self.read().of("c1")

    def test_a_link_counts_as_what_it_names(self, tmp_path: pathlib.Path) -> None:
        link = tmp_path / "link.ini"
        link.symlink_to(self.path)
        assert self.read(link).of("c1")
        self.path.chmod(0o644)
        with pytest.raises(ConfigError, match="others may use it"):
            self.read(link)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
    def test_a_third_user(self) -> None:
        os.chown(self.path, 12345, 0)
        with pytest.raises(ConfigError, match="belongs to user 12345, who could have any host"):
            self.read()

    def test_a_folder(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: Is a directory; correct"):
            self.read(tmp_path)

    def test_a_device_file(self) -> None:
        with pytest.raises(ConfigError, match="/dev/null is not a file; correct"):
            self.read(pathlib.Path("/dev/null"))

    def test_missing(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: No such file or directory; correct"):
            self.read(tmp_path / "none.ini")

    def test_not_utf_8(self) -> None:
        self.path.write_bytes(b"[fake]\npassword = \xff" + SECRET.encode())
        with pytest.raises(ConfigError) as caught:
            self.read()
        assert str(caught.value) == f"{self.path} is not UTF-8; save it as UTF-8."
        assert caught.value.__context__ is None  # it would hold the text


def test_hosts_that_only_the_caller_knows(read: Read) -> None:
    devices = read(f"[fake]\nhosts = c*\n{FAKE}[fake c1]\nip = c2-bmc\n[fake c3]\nip = C4-BMC\n")
    assert devices.problems(["c1", "c2", "c;4"]) == [
        "c1 and c2 have the same device, fake (fence_fake at c2-bmc): one would be switched off "
        "for the other; correct ip, ipport, systems_uri or plug in [fake].",
        "the host name 'c;4' cannot be used for fencing: only letters, digits and . _ - are let "
        "through, and no - at the beginning.",
    ]


def test_a_pattern_whose_hosts_have_exceptions(read: Read) -> None:
    devices = read("[fake]\nhosts = c*\nagent = fence_fake\n[fake c1]\nip = 10.0.0.1\n")
    assert only(devices, "c1").problem is None
    assert only(devices, "c2").problem == "[fake] has no ip for c2: write it into [fake c2]"


def test_nothing_shows_a_password(read: Read) -> None:
    devices = read(f"{HOSTS}{FAKE}")
    assert SECRET not in repr(devices)
    assert SECRET not in repr(only(devices, "c1")) + str(only(devices, "c1"))


class TestChanges:
    @pytest.fixture(autouse=True)
    def _file(self, fencing_ini: pathlib.Path, agents: Agents, programs: Programs) -> None:
        fencing_ini.write_text(f"{HOSTS}{FAKE}")
        self.path = fencing_ini
        self.devices = file.DevicesFile(str(fencing_ini), programs, [str(agents.folder)])

    def test_nothing(self) -> None:
        assert not self.devices.refresh()

    def test_a_right_one_is_taken(self) -> None:
        self.path.write_text(f"[fake]\nhosts = c2\n{FAKE}")
        assert self.devices.refresh()
        assert self.devices.problem is None
        assert self.devices.devices.of("c2")
        assert not self.devices.devices.of("c1")

    def test_a_wrong_one_is_not_taken(self) -> None:
        self.path.write_text("[fake]\nhosts = c2\nagent = fence_none\n")
        assert self.devices.refresh()
        problem = self.devices.problem
        assert problem is not None
        assert problem.endswith("on every controller. The devices of before are used.")
        assert self.devices.devices.of("c1")
        assert not self.devices.refresh()
        assert self.devices.problem == problem
        self.path.write_text(f"{HOSTS}{FAKE}\n")
        assert self.devices.refresh()
        assert self.devices.problem is None

    def test_a_mode_is_a_change(self) -> None:
        self.path.chmod(0o644)
        assert self.devices.refresh()
        assert "others may use it" in str(self.devices.problem)

    def test_a_file_that_is_gone_is_not_taken(self) -> None:
        self.path.unlink()
        assert self.devices.refresh()
        assert "cannot be read" in str(self.devices.problem)
        assert self.devices.devices.of("c1")


def test_no_file_no_devices(programs: Programs) -> None:
    devices = file.DevicesFile("", programs)
    assert devices.devices.of("c1") == ()
    assert not devices.refresh()
