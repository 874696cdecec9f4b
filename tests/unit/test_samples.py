# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The committed samples are what the generators make of the code, on any machine."""

import pathlib
import re
import socket
import subprocess
import sys
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "etc" / "hacore"
CONFIG, CONFIG_GENERATOR = SAMPLES / "hacore.conf.sample", SAMPLES / "hacore-config-generator.conf"
POLICY, POLICY_GENERATOR = SAMPLES / "policy.yaml.sample", SAMPLES / "hacore-policy-generator.conf"

# A part of the sample: group, and the namespace that its options come from.
Part = tuple[str, str]


def generated(tool: str, configuration: pathlib.Path, folder: pathlib.Path) -> str:
    """Run a generator of the environment that the tests run in, as tox does."""
    output = folder / "generated"
    command = [
        pathlib.Path(sysconfig.get_path("scripts")) / tool,
        f"--config-file={configuration}",
        f"--output-file={output}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output.read_text()


def parts(sample: str) -> dict[Part, str]:
    """Return the sample cut into its parts."""
    found: dict[Part, str] = {}
    group = ""
    for block in re.split(r"^(\[\w+\])$|^(?=#\n# From )", sample, flags=re.MULTILINE):
        if block is None:
            continue
        if re.fullmatch(r"\[\w+\]", block):
            group = block
        elif heading := re.match(r"#\n# From (\S+)\n", block):
            found[group, heading[1]] = block.strip()
    return found


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sample")
    return generated("oslo-config-generator", CONFIG_GENERATOR, folder)


def test_options_of_hacore_are_current(fresh: str) -> None:
    ours = {part: text for part, text in parts(fresh).items() if part[1] == "hacore"}
    committed = {
        part: text for part, text in parts(CONFIG.read_text()).items() if part[1] == "hacore"
    }
    assert ours.keys() == committed.keys()
    for part, text in ours.items():
        assert committed[part] == text, f"{CONFIG}, {part[0]} is not current: run tox -e genconfig"


def test_libraries_are_there() -> None:
    committed = parts(CONFIG.read_text())
    assert {namespace for _, namespace in committed} == set(namespaces())


def test_defaults_that_hacore_gives_to_libraries_are_current(
    fresh: str, tmp_path: pathlib.Path
) -> None:
    """Other versions of the libraries may have other options; what hacore changes, it changes."""
    bare = tmp_path / "bare.conf"
    bare.write_text("[DEFAULT]\n" + "".join(f"namespace = {name}\n" for name in namespaces()[1:]))
    without_us = set(generated("oslo-config-generator", bare, tmp_path).splitlines())
    committed = parts(CONFIG.read_text())
    changed = 0
    for part, text in parts(fresh).items():
        for line in text.splitlines():
            if re.match(r"#\w+ = ", line) and part[1] != "hacore" and line not in without_us:
                changed += 1
                # begins with oslo.log's own, whatever they are
                current = line.startswith("#default_log_levels") or line in committed[part]
                assert current, f"{CONFIG} lacks {line}: run tox -e genconfig"
    assert changed


def namespaces() -> list[str]:
    """Those of the sample, hacore's own first."""
    return re.findall(r"^namespace = (\S+)$", CONFIG_GENERATOR.read_text(), re.MULTILINE)


def test_policy_is_current(tmp_path: pathlib.Path) -> None:
    fresh = generated("oslopolicy-sample-generator", POLICY_GENERATOR, tmp_path)
    assert POLICY.read_text() == fresh, f"{POLICY} is not current: run tox -e genpolicy"


def test_nothing_of_the_machine_is_in_a_sample() -> None:
    for sample in (CONFIG, POLICY):
        text = sample.read_text()
        for place in (ROOT, pathlib.Path(sys.prefix), pathlib.Path.home()):
            if len(place.parts) > 1:  # a home may be /
                assert f"{place}/" not in text
        values = re.findall(r"^#\w+ = (.*)$", text, re.MULTILINE)
        assert socket.gethostname() not in values


def test_parts_of_a_sample() -> None:
    sample = (
        "[DEFAULT]\n\n#\n# From a\n#\n\n# x\n#x = 1\n\n"
        "#\n# From b\n#\n#y = 2\n\n\n"
        "[z]\n\n#\n# From a\n#\n"
    )
    found = parts(sample)
    assert list(found) == [("[DEFAULT]", "a"), ("[DEFAULT]", "b"), ("[z]", "a")]
    assert found["[DEFAULT]", "b"].endswith("#y = 2")
