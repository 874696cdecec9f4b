# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The distribution files of this tree, and a new environment with the wheel in it.

Building and installing takes minutes: see tests/services.py.  A module with a third
party's package has the fixtures `example`, an environment with that in it, and
`configuration`, a file and the port of the API in it: `api` then runs hacore-standalone.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Hacore
from tests.e2e.daemons import Daemon
from tests.services import skip_unless_required

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Distribution:
    """What `python -m build` makes: the sdist, and the wheel built from it.

    :ivar sandbox: the wheel of hacore-sandbox, made likewise.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        # a copy: building leaves things behind, and the tree of a tester stays as it is
        source = folder / "source"
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():  # else: deleted, and not committed yet
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, source / name)
        made, sandbox = folder / "dist", folder / "dist-sandbox"
        run(sys.executable, "-m", "build", "--outdir", made, source)
        (self.sdist,) = made.glob("*.tar.gz")
        (self.wheel,) = made.glob("*.whl")
        run(sys.executable, "-m", "build", "--outdir", sandbox, source / "sandbox")
        (self.sandbox,) = sandbox.glob("*.whl")


class Installed:
    """hacore from wheels, in an environment of its own; nothing of the tree is near."""

    def __init__(self, folder: pathlib.Path, *wheels: pathlib.Path) -> None:
        self.prefix = folder / "venv"
        self.home = folder / "home"
        self.home.mkdir()
        venv.create(self.prefix, with_pip=True)
        self.run("pip", "install", "--quiet", *wheels)

    def add(self, package: pathlib.Path, scratch: pathlib.Path) -> None:
        """Install a package from its folder, of which a copy is made in `scratch`."""
        source = scratch / package.name
        shutil.copytree(package, source, ignore=shutil.ignore_patterns("__pycache__", "build"))
        self.run("pip", "install", "--quiet", source)

    def run(self, name: str, *arguments: str | pathlib.Path) -> str:
        """Run a command of the environment to its end; return what it prints."""
        return run(
            self.command(name),
            *arguments,
            cwd=self.home,
            env={**os.environ, "HOME": f"{self.home}"},
        )

    def command(self, name: str) -> str:
        return str(self.prefix / "bin" / name)


def run(
    *command: object, cwd: pathlib.Path | None = None, env: dict[str, str] | None = None
) -> str:
    """Run a command to its end; return what it prints."""
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1000,
        cwd=cwd,
        env=env,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    skip_unless_required("a package index, and minutes")
    return Distribution(tmp_path_factory.mktemp("distribution"))


@pytest.fixture(scope="session")
def installed(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """hacore and its simulator."""
    folder = tmp_path_factory.mktemp("installed")
    return Installed(folder, distribution.wheel, distribution.sandbox)


@pytest.fixture(scope="session")
def hacore_alone(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """What runs on a controller."""
    return Installed(tmp_path_factory.mktemp("alone"), distribution.wheel)


@pytest.fixture
def api(
    example: Installed, configuration: tuple[pathlib.Path, int], tmp_path: pathlib.Path
) -> Iterator[Hacore]:
    """The API of a running hacore-standalone."""
    path, port = configuration
    command = [example.command("hacore-standalone"), f"--config-file={path}"]
    daemon = Daemon("hacore-standalone", command, tmp_path / "hacore.log")
    made = Hacore(f"http://127.0.0.1:{port}", token=None)
    try:
        daemon.wait_until_it_says("API listens on", 60)
        yield made
    finally:
        made.close()
        status = daemon.end()
        sys.stdout.write(daemon.text())  # pytest shows it when the test fails
    assert status == 0
