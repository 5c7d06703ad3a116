"""The wheel, in an empty environment, from a folder that holds a main.py."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from .conftest import ROOT, Person, ended, free_port, interrupt, read_until

pytestmark = pytest.mark.integration

SOURCES = ("main", "pyproject.toml", "README.md", "LICENSE")
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.pyc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy, so that the repository stays clean."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=NOT_SOURCES)
        else:
            shutil.copy(source, folder)
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=folder)
    (built,) = (folder / "dist").glob("tickerbus-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing in it but the wheel, that sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = ("--python", str(python), "install", "--no-deps", "--no-index", "--quiet")
    _run(sys.executable, "-m", "pip", *install, str(wheel), cwd=folder)
    # A path from a .pth file is searched, but its own .pth files are not read: the dependencies
    # are found, and this environment's editable tickerbus is not.
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def stranger(person: Person, python: Path, tmp_path: Path) -> Person:
    """A person whose folder holds a strategy called main.py, and who has installed the wheel."""
    (tmp_path / "main.py").write_text("raise SystemExit('the wrong main')\n")
    del person.environment["PYTHONPATH"]
    person.program = [str(python), "-m", "tickerbus"]
    return person


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_under_its_installed_name_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tickerbus"}
    kept = {
        str(Path("tickerbus") / path.relative_to(ROOT / "main"))
        for path in (ROOT / "main").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kept <= set(names)


def test_the_installed_package_is_the_wheels_and_not_the_repositorys(
    stranger: Person, python: Path, tmp_path: Path
) -> None:
    where = "import tickerbus, sys; print(tickerbus.__file__, 'main' in sys.modules)"
    told = subprocess.run(
        [str(python), "-c", where],
        cwd=tmp_path,
        env=stranger.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert Path(told[0]).is_relative_to(python.parent.parent)
    assert told[1] == "False"


def test_the_command_is_installed(stranger: Person, python: Path) -> None:
    stranger.program = [str(python.parent / "tickerbus")]
    version = stranger.types("--version")
    assert version.code == 0, version.err
    assert re.fullmatch(r"tickerbus \d+\.\d+\.\d+\n", version.out)


def test_public_names_load_without_the_broker_and_alpacas_libraries(
    stranger: Person, python: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, tickerbus;"
        "missing = [n for n in tickerbus.__all__ if not hasattr(tickerbus, n)];"
        "heavy = {'pandas', 'alpaca', 'aiohttp', 'pydantic', 'typer', 'tickerbus.alpaca_broker'};"
        "print(missing, sorted(heavy & set(sys.modules)))"
    )
    told = subprocess.run(
        [str(python), "-c", code],
        cwd=tmp_path,
        env=stranger.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "[] []\n"


def test_the_readmes_consumer_and_an_example_get_prices_beside_a_main_py(
    stranger: Person, python: Path, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "examples" / "print_ticker.py", tmp_path)
    redis_port = free_port()
    up = stranger.starts(
        f"up --tickers AAPL --rate 20 --redis-port {redis_port} --sim-port {free_port()}"
    )
    read_until(up, "Ctrl-C ends it")
    stranger.environment["REDIS_URL"] = f"redis://127.0.0.1:{redis_port}"
    for script in (_readme_consumer(tmp_path), tmp_path / "print_ticker.py"):
        stranger.program = [str(python), str(script)]
        consumer = stranger.starts("AAPL")
        try:
            assert re.search(r"AAPL +[\d.]+ .*\d", read_until(consumer, "AAPL"))
        finally:
            left = interrupt(consumer)
        assert (left.code, left.err) == (0, ""), "Ctrl-C is no error"
    assert interrupt(up).code == 0


def _readme_consumer(folder: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    script = folder / "consumer.py"
    script.write_text(code)
    return script


def test_the_plain_demo_works_from_the_wheel_beside_a_main_py(stranger: Person) -> None:
    ports = f"--redis-port {free_port()} --sim-port {free_port()}"
    demo = ended(stranger.starts(f"demo --seconds 5 --plain --tickers AAPL {ports}"))
    assert demo.code == 0, demo.out + demo.err
