"""Files that are written from others, or have to agree with them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import main
from main.__main__ import app
from main.compose import FILE_NAME, compose_text
from main.settings import Settings, load_settings
from tools.picture import self_contained
from tools.requirements import REQUIREMENTS, requirements_text

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETTING_LINE = re.compile(r"^(# )?([A-Z][A-Z0-9_]*)=", re.M)


def test_the_compose_file_is_what_the_command_writes() -> None:
    assert (ROOT / FILE_NAME).read_text("utf-8") == compose_text(), "run: tickerbus compose --write"


def test_requirements_are_what_make_requirements_writes() -> None:
    assert REQUIREMENTS.read_text("utf-8") == requirements_text(), "run: make requirements"


def test_the_list_of_packages_is_complete() -> None:
    tool = PROJECT["tool"]["setuptools"]
    found = {
        ".".join(("tickerbus", *init.parent.relative_to(ROOT / "main").parts))
        for init in (ROOT / "main").rglob("__init__.py")
    }
    assert set(tool["packages"]) == found
    assert tool["package-dir"] == {"tickerbus": "main"}


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "main").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_package_data_covers_every_file_that_is_no_code() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["tickerbus"]
    covered = {path for pattern in patterns for path in (ROOT / "main").glob(pattern)}
    data = {
        path
        for path in (ROOT / "main").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert data - covered == set()


def test_pins_cover_the_direct_dependencies_and_name_no_host() -> None:
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.!+]*", pin) for pin in pins)
    pinned = {_canonical(pin.partition("==")[0]) for pin in pins}
    extra = PROJECT["project"]["optional-dependencies"]["dev"]
    named = [
        re.split(r"[\[<>=!~; ]", word)[0] for word in PROJECT["project"]["dependencies"] + extra
    ]
    assert {_canonical(name) for name in named} <= pinned


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == main.__version__
    assert f"## {main.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_example_of_env_names_every_setting_and_no_other() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    named = [match[2] for match in SETTING_LINE.finditer(text)]
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


def test_the_example_of_env_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    assert load_settings(ROOT / ".env.example") == load_settings(None)


# -- the compose file, as far as it can be checked without an engine


@pytest.fixture
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(compose_text())["services"]
    return services


def test_the_services_wait_for_a_healthy_redis(services: dict[str, Any]) -> None:
    assert set(services) == {"redis", "broker", "scale_t", "events_bridge"}
    for name in ("broker", "scale_t", "events_bridge"):
        assert services[name]["depends_on"]["redis"] == {"condition": "service_healthy"}
    assert services["scale_t"]["depends_on"]["broker"] == {"condition": "service_healthy"}
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)


def test_redis_keeps_what_it_is_told_and_asks_for_a_password(services: dict[str, Any]) -> None:
    words = services["redis"]["command"]
    pairs = dict(zip(words[1::2], words[2::2], strict=True))
    assert services["redis"]["image"] == "redis:7-alpine"
    assert pairs["--appendonly"] == "yes"
    assert pairs["--maxmemory-policy"] == "noeviction"
    assert pairs["--requirepass"].startswith("${REDIS_PASSWORD:?")
    assert services["redis"]["healthcheck"]["test"][0] == "CMD-SHELL"
    assert "ports" not in services["redis"], "Redis stays on the default network"


def test_refused_keys_do_not_hammer_alpaca(services: dict[str, Any]) -> None:
    assert services["broker"]["restart"] == "on-failure:5"
    assert services["scale_t"]["restart"] == "on-failure:5"


def test_the_broker_gets_every_setting(services: dict[str, Any]) -> None:
    names = {name.upper() for name in Settings.model_fields}
    given = services["broker"]["environment"]
    assert set(given) <= names
    assert names - set(given) <= {name for name in names if name.startswith("REDIS_")}
    assert given["REDIS_HOST"] == "redis"
    assert given["ALPACA_API_KEY"] == "${ALPACA_API_KEY:-}", "from the shell or .env, or empty"


def test_the_brokers_health_is_asked_where_its_figures_are(services: dict[str, Any]) -> None:
    given = services["broker"]["environment"]
    assert given["METRICS_PORT"] == "${METRICS_PORT:-9464}"
    code = services["broker"]["healthcheck"]["test"][-1]
    assert "/readyz" in code
    compile(code, "healthcheck", "exec")
    assert "ports" not in services["broker"], "the figures stay on the compose network"


def test_every_variable_of_the_compose_file_has_a_value_or_a_complaint() -> None:
    for variable in re.findall(r"\$\{([^}]*)\}", compose_text()):
        assert re.fullmatch(r"[A-Z_]+(:\?.+|:-.*)", variable), variable


def test_only_known_keys_stand_in_a_service(services: dict[str, Any]) -> None:
    known = {"build", "command", "depends_on", "environment", "healthcheck", "image", "init"}
    known |= {"restart", "stop_grace_period", "volumes"}
    for service in services.values():
        assert set(service) <= known


def test_the_image_runs_as_nobody_important_and_is_healthy_by_heartbeat() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    assert "USER tickerbus" in lines
    assert lines.index("USER tickerbus") < lines.index('ENTRYPOINT ["tickerbus"]')
    assert any('CMD ["tickerbus", "status"]' in line for line in lines)
    assert 'CMD ["broker"]' in lines
    copied = [
        word
        for line in lines
        if line.startswith("COPY p") or line.startswith("COPY m")
        for word in line.split()[1:-1]
    ]
    allowed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in allowed


# -- what the pages say


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_the_readme_names_every_command() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("## Commands")[2]
    for command in app.registered_commands:
        assert re.search(rf"`{command.name}[ `]", table), command.name
    assert "`scale-t run " in table


def test_every_page_can_be_found_from_the_readme() -> None:
    linked = re.findall(r"\]\(([^)#]+\.md)\)", (ROOT / "README.md").read_text("utf-8"))
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")}
    assert pages - set(linked) == set(), "add it under Documentation"


def test_the_pages_tell_only_of_targets_that_make_has() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    for page in PAGES:
        told = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.M)
        assert set(told) <= set(targets)


def test_the_picture_loads_nothing_from_elsewhere() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text("utf-8")
    assert "PAPER" in picture
    assert "@font-face" not in picture
    assert "url(http" not in picture
    given = '<style>@font-face { src: url("https://x"); } p { font-family: Fira; }</style>'
    cell = '<text x="10" y="2" textLength="40" clip="a">&#160;a&lt;&#160;</text>'
    drawn = self_contained(given + cell)
    assert "https" not in drawn
    assert '<text x="20" y="2" textLength="20" clip="a">a&lt;</text>' in drawn
