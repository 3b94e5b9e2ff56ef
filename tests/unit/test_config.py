"""Settings: read once, and refused by name."""

import pytest

from tune_operator.config import Settings, SettingsError

URL = {"TUNE_SERVICE_URL": "https://tune.system.svc:8443"}


def test_defaults_need_nothing_but_the_url_trainers_dial() -> None:
    settings = Settings.from_environment(URL)
    assert settings.service_url == "https://tune.system.svc:8443"
    assert (settings.listen_port, settings.obs_port, settings.workers) == (8443, 8080, 16)
    assert settings.watch_namespaces == ()


def test_namespaces_are_a_set() -> None:
    settings = Settings.from_environment({**URL, "TUNE_WATCH_NAMESPACES": " b, a,b ,"})
    assert settings.watch_namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("value", "expected"), [("", True), ("true", True), ("false", False)], ids=repr
)
def test_nodes_are_followed_unless_it_says_not_to(value: str, expected: bool) -> None:
    assert Settings.from_environment({**URL, "TUNE_NODE_WATCH": value}).node_watch is expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TUNE_SERVICE_URL", ""),
        ("TUNE_SERVICE_URL", "http://plain:1"),
        ("TUNE_SERVICE_URL", "https://host/path"),
        ("TUNE_LISTEN_PORT", "70000"),
        ("TUNE_WORKERS", "0"),
        ("TUNE_WORKERS", "many"),
        ("TUNE_LOG_LEVEL", "LOUD"),
        ("TUNE_LOG_FORMAT", "xml"),
        ("TUNE_NODE_WATCH", "yes"),
        ("TUNE_LEASE_NAME", "No Name"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        Settings.from_environment({**URL, variable: value})
