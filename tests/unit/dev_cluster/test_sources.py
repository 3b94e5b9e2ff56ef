"""What is taken from the host: Debian sources and pip's settings."""

from pathlib import Path

import pytest

from dev.cluster import debian, hostpip

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian/
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: trixie-security

Types: deb-src
URIs: http://mirror.example/debian
Suites: trixie

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: sid
"""
ONE_LINE = """\
# deb http://off.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
"""


@pytest.mark.parametrize("text", [DEB822, ONE_LINE], ids=["deb822", "one line"])
def test_the_host_s_archive_serves_our_suite(text: str) -> None:
    assert debian.mirrors(debian.entries(text), "bookworm") == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]


def test_other_archives_are_not_debian_s() -> None:
    assert debian.mirrors([("http://packages.example/node", "bookworm")], "bookworm") == []
    assert debian.mirrors([], "bookworm") == []


def test_source_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(DEB822)
    (folder / "old.list.disabled").write_text("deb http://off.example/debian bookworm main")
    assert (
        debian.host_mirrors("trixie", tmp_path)[0] == "deb http://mirror.example/debian trixie main"
    )


def test_apt_in_a_build_finds_the_host_s_certificates_where_they_are_mounted() -> None:
    settings = ['Acquire::https::CaInfo "/host/ca.crt";', 'Acquire::http::Proxy "http://p:3128";']
    assert debian.conf_in_build(settings, "/run/ca.crt").splitlines() == [
        'Acquire::https::CaInfo "/run/ca.crt";',
        'Acquire::http::Proxy "http://p:3128";',
    ]


def test_pip_settings_about_the_index_are_taken_the_environment_first() -> None:
    listing = (
        ":env:.default-timeout='180'\n"
        "global.index-url='https://a.example/simple'\n"
        ":env:.index-url='https://b.example/simple'\n"
        "global.require-virtualenv='true'\n"
        "nonsense\n"
    )
    assert hostpip.parse_settings(listing) == {
        "default-timeout": "180",
        "index-url": "https://b.example/simple",
    }


def test_a_pip_conf_has_one_setting_a_line() -> None:
    text = hostpip.pip_conf({"trusted-host": "a\nb", "index-url": "https://x"}, with_ca=True)
    assert text.splitlines() == [
        "[global]",
        "index-url = https://x",
        "trusted-host = a b",
        f"cert = {hostpip.CA_IN_BUILD}",
    ]


def test_the_certificate_bundle_named_for_pip_wins(tmp_path: Path) -> None:
    environment = {"SSL_CERT_FILE": "/other.pem", "PIP_CERT": str(tmp_path / "ca.pem")}
    assert hostpip.host_ca(environment) == tmp_path / "ca.pem"
