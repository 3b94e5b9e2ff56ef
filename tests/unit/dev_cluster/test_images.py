"""Image keys: a hash of all that goes in, and of nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from dev.cluster import images
from dev.cluster.images import IMAGES, PYTHON, Image

DOCKERFILE = """\
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}
# COPY not/this /
COPY --chown=1:1 requirements.txt \\
     src /app/
COPY --from=other /x /y
ADD data/*.csv /data/
"""


@pytest.fixture
def image(tmp_path: Path) -> Image:
    for name in ("requirements.txt", "src/a.py", "src/deep/b.py", "data/d.csv", "data/no.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return Image("dev.local/a:dev", tmp_path / "Dockerfile", tmp_path, "dev.local/base:dev")


def test_sources_are_what_copy_and_add_read() -> None:
    assert images.copy_sources(DOCKERFILE) == ["requirements.txt", "src", "data/*.csv"]


def test_only_copied_files_count(image: Image) -> None:
    (image.context / "src" / "__pycache__").mkdir()
    (image.context / "src" / "__pycache__" / "a.pyc").write_text("x")
    names = [
        str(f.relative_to(image.context)) for f in images.copied_files(DOCKERFILE, image.context)
    ]
    assert names == ["data/d.csv", "requirements.txt", "src/a.py", "src/deep/b.py"]


def test_a_whole_context_leaves_out_what_is_never_part_of_an_image(image: Image) -> None:
    (image.context / ".git").mkdir()
    (image.context / ".git" / "HEAD").write_text("x")
    files = images.copied_files("FROM x\nCOPY . /app/\n", image.context)
    assert "HEAD" not in {file.name for file in files}
    assert "Dockerfile" in {file.name for file in files}


def test_the_key_changes_with_every_part(image: Image) -> None:
    seen = {images.key(image, "base")}

    def changed() -> bool:
        key = images.key(image, "base")
        new = key not in seen
        seen.add(key)
        return new

    assert not changed()
    (image.context / "src" / "a.py").write_text("changed")
    assert changed()
    (image.context / "src" / "a.py").rename(image.context / "src" / "c.py")
    assert changed()
    (image.context / "src" / "c.py").chmod(0o755)
    assert changed()
    image.dockerfile.write_text(f"{DOCKERFILE}USER 1\n")
    assert changed()
    (image.context / "data" / "no.txt").write_text("not copied")
    assert not changed()
    assert images.key(image, "another base") not in seen
    assert images.key(replace(image, name="dev.local/b:dev"), "base") not in seen


def test_a_base_comes_before_what_needs_it() -> None:
    seen: set[str] = set()
    for image in IMAGES:
        assert image.base is None or image.base in seen
        seen.add(image.name)


def test_images_without_a_dockerfile_or_a_base_are_left_out(image: Image, tmp_path: Path) -> None:
    base = replace(image, name="dev.local/base:dev", base=None)
    missing = replace(image, name="dev.local/c:dev", dockerfile=tmp_path / "none")
    child = replace(image, name="dev.local/d:dev", base=missing.name)
    assert images.buildable((base, image, missing, child)) == [base, image]
    assert images.buildable((image,)) == []


def test_generated_images_have_a_dockerfile() -> None:
    assert all(image.dockerfile.exists() for image in IMAGES if image.generated)
    assert not PYTHON.imported
