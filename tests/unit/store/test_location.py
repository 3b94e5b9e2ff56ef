"""What a specification may say about the store, and what each mistake is told."""

import pytest

from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.errors import BadLocation
from tune_operator.store.factory import open_store
from tune_operator.store.location import Endpoint, Location


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://tune", "tune", ""),
        ("s3://tune/", "tune", ""),
        ("s3://tune/team-a", "tune", "team-a"),
        ("s3://tune/team-a/x.y_z/", "tune", "team-a/x.y_z"),
        ("s3://my.bucket-1/a", "my.bucket-1", "a"),
    ],
)
def test_locations(uri: str, bucket: str, prefix: str) -> None:
    assert Location.parse(uri) == Location(bucket, prefix)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "s3://bucket/prefix"),
        ("tune/team-a", "s3://bucket/prefix"),
        ("http://tune/team-a", "s3://bucket/prefix"),
        ("s3:/tune", "s3://bucket/prefix"),
        ("s3://", "no bucket name"),
        ("s3://ab", "no bucket name"),
        ("s3://Tune", "no bucket name"),
        ("s3://a..b", "no bucket name"),
        ("s3://tune/a//b", "part ''"),
        ("s3://tune/a/../b", "part '..'"),
        ("s3://tune/a b", "part 'a b'"),
        ("s3://tune/a?b", "part 'a?b'"),
        ("s3://tune/a\n", "part 'a\\n'"),
        ("s3://tune/" + "x" * 600, "longer than"),
    ],
)
def test_bad_locations_name_the_field_and_the_mistake(uri: str, says: str) -> None:
    with pytest.raises(BadLocation) as caught:
        Location.parse(uri)
    assert caught.value.message.startswith("storage.uri")
    assert says in caught.value.message


def test_uri_is_the_inverse_of_parse() -> None:
    location = Location.parse("s3://tune/team-a/")
    assert location.uri() == "s3://tune/team-a"
    assert location.uri("team-a/x/1.json") == "s3://tune/team-a/x/1.json"
    assert Location("tune", "").uri() == "s3://tune"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://minio:9000", Endpoint("minio:9000", secure=False)),
        ("https://minio.storage.svc:9000/", Endpoint("minio.storage.svc:9000", secure=True)),
        ("https://10.0.0.1", Endpoint("10.0.0.1", secure=True)),
        ("http://[::1]:9000", Endpoint("[::1]:9000", secure=False)),
        ("", Endpoint("s3.amazonaws.com", secure=True)),
        (None, Endpoint("s3.amazonaws.com", secure=True)),
    ],
)
def test_endpoints(url: str | None, endpoint: Endpoint) -> None:
    assert Endpoint.parse(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "minio:9000",
        "ftp://minio",
        "http://",
        "http://minio:port",
        "http://minio:99999",
        "http://minio/path",
        "http://minio?x=1",
        "http://user:password@minio",
        "http://mi nio",
        "http://[::1",
    ],
)
def test_bad_endpoints_name_the_field(url: str) -> None:
    with pytest.raises(BadLocation, match=r"^storage\.endpoint"):
        Endpoint.parse(url)


async def test_open_store_sends_nothing_and_reports_bad_text() -> None:
    keys = StaticCredentials("a", "s")
    await open_store("s3://tune/a", "http://nowhere.invalid:1", None, keys).close()
    with pytest.raises(BadLocation):
        open_store("tune", None, None, keys)
    with pytest.raises(BadLocation):
        open_store("s3://tune", "minio", None, keys)


def test_credentials_never_show() -> None:
    keys = StaticCredentials("the-access-key", "the-secret-key", "the-token")
    assert "the-" not in f"{keys!r} {keys}"
