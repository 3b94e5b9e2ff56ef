"""Promises of the repository that no other test sees: pins, layout, documents that are true."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = {
    "requirements/dev.txt": ("pyproject.toml", ("dev", "digits")),
    "requirements/operator.txt": ("pyproject.toml", ()),
    "trainer-image/requirements.txt": ("trainer-image/pyproject.toml", ()),
}
OURS = {"tune-operator", "tune-trainer"}


@cache
def project(path: str) -> Any:
    return tomllib.loads((ROOT / path).read_text())


def requirements(path: str, groups: tuple[str, ...]) -> list[Requirement]:
    """What a project file asks for, without our own projects."""
    content = project(path)
    texts = list(content["project"]["dependencies"])
    for group in groups:
        texts += content["dependency-groups"][group]
    found = [Requirement(text) for text in texts]
    return [requirement for requirement in found if requirement.name not in OURS]


def pins(lock: str) -> dict[str, Version]:
    """The pinned versions of a lock, by normalized name."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_its_project_file(lock: str) -> None:
    pinned = pins(lock)
    for requirement in requirements(*LOCKS[lock]):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {lock}: run make lock"
        assert requirement.specifier.contains(version), f"{requirement} but {lock} has {version}"


ALL_LOCKS = (*LOCKS, "examples/digits/requirements.txt")


@pytest.mark.parametrize("lock", ALL_LOCKS)
def test_every_pin_of_a_lock_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text


@pytest.mark.parametrize("lock", [lock for lock in ALL_LOCKS if lock != "requirements/dev.txt"])
def test_what_images_install_is_what_tests_ran_with(lock: str) -> None:
    tested = pins("requirements/dev.txt")
    different = {name: version for name, version in pins(lock).items() if tested[name] != version}
    assert different == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_has_its_reason(lock: str) -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    names = {requirement.name for requirement in requirements(*LOCKS[lock])}
    assert {name for name in names if f"| {name} |" not in reasons} == set()


def test_operator_folder_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_one_version_everywhere() -> None:
    version = project("pyproject.toml")["project"]["version"]
    trainer = project("trainer-image/pyproject.toml")["project"]["version"]
    chart = (ROOT / "charts" / "tune-operator" / "Chart.yaml").read_text()
    assert trainer == version
    assert f'appVersion: "{version}"' in chart
    assert f"\nversion: {version}\n" in chart
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_only_what_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert named
    assert named - targets == set()


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(
        str(path.relative_to(ROOT))
        for folder in ("docs", "dev", "tests")
        for path in (ROOT / folder).rglob("*.md")
    ),
]


@pytest.mark.parametrize("page", PAGES)
def test_documents_link_to_what_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    for link, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#?)([^)]*)\)", text):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), f"{link}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("dockerfile", ["trainer-image/Dockerfile", "examples/convnet/Dockerfile"])
def test_our_images_have_the_lines_that_a_training_image_is_told_to_add(dockerfile: str) -> None:
    page = (ROOT / "docs" / "images.md").read_text()
    snippet = page.partition("```dockerfile\n")[2].partition("```")[0]
    environment, user, entrypoint = snippet.splitlines()[-3:]
    lines = (ROOT / dockerfile).read_text().splitlines()
    assert lines[-1] == entrypoint
    assert [line for line in lines if line.startswith("USER ")][-1] == user
    set_there = {word for line in lines if line.startswith("ENV ") for word in line.split()}
    assert set(environment.split()) <= set_there
