"""Where a store is, read from what a specification says; everything wrong with it is found here."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tune_operator.store.errors import BadLocation

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Characters S3 calls safe in keys; others would need escaping in one place or another.
_SEGMENT = re.compile(r"[A-Za-z0-9!_.*'()=+@-]+")
_PREFIX_LIMIT = 512
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_AWS = "https://s3.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Location:
    """A bucket and a key prefix without leading or trailing slash (empty: the whole bucket)."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Reads `s3://bucket/prefix`; raises BadLocation."""
        scheme, separator, rest = uri.partition("://")
        if scheme != "s3" or not separator:
            raise BadLocation(f"storage.uri {uri!r}: write it as s3://bucket/prefix")
        bucket, _, prefix = rest.partition("/")
        if not _BUCKET.fullmatch(bucket) or ".." in bucket:
            raise BadLocation(
                f"storage.uri {uri!r}: {bucket!r} is no bucket name "
                "(3 to 63 lower-case letters, digits, dots and hyphens)"
            )
        prefix = prefix.strip("/")
        for segment in prefix.split("/") if prefix else ():
            if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
                raise BadLocation(
                    f"storage.uri {uri!r}: the part {segment!r} of the prefix is empty, a dot, or "
                    "has other characters than letters, digits and !_.*'()=+@-"
                )
        if len(prefix) > _PREFIX_LIMIT:
            raise BadLocation(f"storage.uri: the prefix is longer than {_PREFIX_LIMIT} characters")
        return cls(bucket, prefix)

    def uri(self, key: str | None = None) -> str:
        """The s3:// form of a key of this bucket; without a key, of the location itself."""
        path = self.prefix if key is None else key
        return f"s3://{self.bucket}/{path}" if path else f"s3://{self.bucket}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Host and optional port of an S3 server, and whether it speaks TLS."""

    netloc: str
    secure: bool

    @classmethod
    def parse(cls, url: str | None) -> "Endpoint":
        """Reads `https://host:port` or `http://host:port`; none means AWS. Raises BadLocation."""
        try:
            parts = urlsplit(url or _AWS)
            host, port = parts.netloc, parts.port
        except ValueError as error:
            raise BadLocation(f"storage.endpoint {url!r}: {error}") from None
        if port is not None:
            host = host.rpartition(":")[0]
        if (
            parts.scheme not in ("http", "https")
            or not _HOST.fullmatch(host)
            or parts.path not in ("", "/")
            or parts.query
            or parts.fragment
        ):
            raise BadLocation(
                f"storage.endpoint {url!r}: write it as https://host:port (or http://host:port), "
                "without a path"
            )
        return cls(parts.netloc, parts.scheme == "https")

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.secure else 'http'}://{self.netloc}"
