"""Build groups: their cache keys, the versions they build, the toolchain they need."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dev.cluster import binaries, golang
from dev.cluster.binaries import CONTROL_PLANE, GROUPS, KUBERNETES_VERSION, MODULES, Group


def module_file(name: str) -> str:
    return (MODULES / name / "go.mod").read_text()


def test_every_program_is_a_tool_of_its_module_or_its_main_package() -> None:
    for group in {group.name: group for groups in GROUPS.values() for group in groups}.values():
        for package in group.programs.values():
            if package == ".":
                assert (group.folder / "main.go").exists()
            else:
                pattern = rf"(tool|^\t).*{re.escape(package)}$"
                assert re.search(pattern, module_file(group.module), re.MULTILINE)


def test_programs_built_together_are_named_by_their_packages() -> None:
    for group in {group.name: group for groups in GROUPS.values() for group in groups}.values():
        if len(group.programs) > 1:
            assert all(package.endswith(f"/{name}") for name, package in group.programs.items())


def test_all_kubernetes_modules_have_one_version() -> None:
    text = module_file("kubernetes")
    assert f"k8s.io/kubernetes {KUBERNETES_VERSION}" in text
    minor = KUBERNETES_VERSION.removeprefix("v1.")
    staging = re.findall(r"^\t(k8s.io/\S+) => (\S+) (\S+)$", text, re.MULTILINE)
    assert len(staging) == 31
    assert {(new, version) for _, new, version in staging} == {
        (old, f"v0.{minor}") for old, _, _ in staging
    }


def test_no_module_needs_a_newer_go_than_the_tool_brings() -> None:
    needed = max(
        tuple(map(int, re.findall(r"^go (\d+)\.(\d+)", file.read_text(), re.MULTILINE)[0]))
        for file in MODULES.glob("*/go.mod")
    )
    assert needed == golang.NEEDED
    assert tuple(map(int, golang.PACKAGE_VERSION.split(".")[:2])) >= needed


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 linux/arm64", (1, 27)),
        ("go version devel +abc", None),
        ("", None),
    ],
)
def test_go_versions_are_read(text: str, version: tuple[int, int] | None) -> None:
    assert golang.version_of(text) == version


def test_the_key_covers_all_that_goes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "MODULES", tmp_path)
    (tmp_path / "m").mkdir()
    for file in ("go.mod", "go.sum"):
        (tmp_path / "m" / file).write_text(file)
    group = Group("g", "m", {"program": "example.com/program"})
    keys = [group.key()]
    keys.append(replace(group, programs={"program": "example.com/other"}).key())
    keys.append(replace(group, linker="-X a=b").key())
    for file in ("go.mod", "go.sum"):
        (tmp_path / "m" / file).write_text("changed")
        keys.append(group.key())
    (tmp_path / "m" / "main.go").write_text("package main")
    keys.append(group.key())
    assert len(set(keys)) == len(keys)
    assert group.key() == keys[-1]


def test_kubernetes_reports_its_version() -> None:
    flags = " ".join(CONTROL_PLANE.flags())
    assert f"version.gitVersion={KUBERNETES_VERSION}" in flags
    assert "version.gitMajor=1" in flags


def test_links_are_replaced(tmp_path: Path) -> None:
    for version in ("old", "new"):
        binaries.link({"kubectl": tmp_path / version}, tmp_path / "bin")
    assert (tmp_path / "bin" / "kubectl").readlink() == tmp_path / "new"
    assert json.dumps([file.name for file in (tmp_path / "bin").iterdir()]) == '["kubectl"]'
