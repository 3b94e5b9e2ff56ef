"""What every ObjectStore must do, once, for all of them.

A test module derives from Conformance and provides the fixture `store`, whose keys below `PREFIX`
are free at the start of each test. Keys with an empty part, and a key that is another key's folder,
are outside the contract: MinIO keeps objects as files and refuses them.
"""

import asyncio

import pytest

from tune_operator.store.errors import NotFound, StoreError
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import PAGE, ObjectStore, Stored, Upload

ODD_KEYS = ("a b", "a+b", "a%2Fb", "a=b&c", "ä/ö", "x'y(z)!", "~tilde")


def begin_in_memory(store: ObjectStore, key: str) -> Upload:
    """A multipart upload in a store in memory."""
    assert isinstance(store, MemoryStore)
    upload = Upload(key, f"upload {len(store.begun)}")
    store.begun.add(upload)
    return upload


class Conformance:
    """The suite. `PREFIX` keeps runs against a shared bucket apart."""

    PREFIX = "conformance/"

    def key(self, name: str) -> str:
        return self.PREFIX + name

    async def test_get_of_an_absent_object_is_not_found(self, store: ObjectStore) -> None:
        with pytest.raises(NotFound):
            await store.get(self.key("absent"))

    @pytest.mark.parametrize("data", [b"", b"text", bytes(range(256)) * 40])
    async def test_put_then_get_gives_the_same_bytes(self, store: ObjectStore, data: bytes) -> None:
        await store.put(self.key("k"), data)
        assert await store.get(self.key("k")) == data

    async def test_put_replaces(self, store: ObjectStore) -> None:
        await store.put(self.key("k"), b"old")
        await store.put(self.key("k"), b"new")
        assert await store.get(self.key("k")) == b"new"

    @pytest.mark.parametrize("name", ODD_KEYS)
    async def test_any_character_of_a_key_survives(self, store: ObjectStore, name: str) -> None:
        await store.put(self.key(name), b"1")
        assert await store.put_if_absent(self.key(name), b"2") is False
        assert await store.get(self.key(name)) == b"1"
        assert await store.list(self.key(name)) == [self.key(name)]

    async def test_the_first_writer_wins(self, store: ObjectStore) -> None:
        assert await store.put_if_absent(self.key("k"), b"first") is True
        assert await store.put_if_absent(self.key("k"), b"second") is False
        assert await store.get(self.key("k")) == b"first"

    async def test_a_retry_of_the_same_bytes_is_no_conflict(self, store: ObjectStore) -> None:
        assert await store.put_if_absent(self.key("k"), b"same") is True
        assert await store.put_if_absent(self.key("k"), b"same") is True

    async def test_of_many_writers_at_once_one_wins(self, store: ObjectStore) -> None:
        offers = [f"writer {number}".encode() for number in range(8)]
        won = await asyncio.gather(*(store.put_if_absent(self.key("k"), data) for data in offers))
        assert [data for data, mine in zip(offers, won, strict=True) if mine] == [
            await store.get(self.key("k"))
        ]

    async def test_list_is_sorted_and_by_prefix_not_by_folder(self, store: ObjectStore) -> None:
        for name in ("t/2", "t/10", "t/1a", "t/1/deep", "other"):
            await store.put(self.key(name), b"")
        assert await store.list(self.key("t/1")) == [
            self.key(name) for name in ("t/1/deep", "t/10", "t/1a")
        ]
        assert await store.list(self.key("t/")) == [
            self.key(name) for name in ("t/1/deep", "t/10", "t/1a", "t/2")
        ]

    async def test_list_of_nothing_is_empty(self, store: ObjectStore) -> None:
        assert await store.list(self.key("nothing/")) == []

    async def test_list_after_a_key_gives_only_what_is_behind_it(self, store: ObjectStore) -> None:
        for name in ("t/1", "t/2", "t/2a", "t/3", "u"):
            await store.put(self.key(name), b"")
        behind = await store.list(self.key("t/"), self.key("t/2"))
        assert behind == [self.key("t/2a"), self.key("t/3")]

    async def test_list_after_a_key_that_is_not_there(self, store: ObjectStore) -> None:
        for name in ("t/1", "t/3"):
            await store.put(self.key(name), b"")
        assert await store.list(self.key("t/"), self.key("t/2")) == [self.key("t/3")]

    async def test_list_after_the_last_key_is_empty(self, store: ObjectStore) -> None:
        await store.put(self.key("t/1"), b"")
        assert await store.list(self.key("t/"), self.key("t/1")) == []

    async def test_list_goes_over_all_pages(self, store: ObjectStore) -> None:
        names = [self.key(f"many/{number:05d}") for number in range(1001)]
        for start in range(0, len(names), 100):
            await asyncio.gather(*(store.put(name, b"") for name in names[start : start + 100]))
        assert await store.list(self.key("many/")) == names
        assert await store.list(self.key("many/"), names[0]) == names[1:]

    async def begin(self, store: ObjectStore, key: str) -> Upload:
        """Begin a multipart upload behind the store's back, as a trainer does."""
        raise NotImplementedError

    async def test_a_page_has_sizes_and_begins_behind_a_key(self, store: ObjectStore) -> None:
        sizes = {"t/1": b"", "t/2": b"22", "t/2a": b"333", "u": b""}
        for name, data in sizes.items():
            await store.put(self.key(name), data)
        page = await store.page(self.key("t/"))
        assert page == [
            Stored(self.key(f"t/{n}"), size) for n, size in (("1", 0), ("2", 2), ("2a", 3))
        ]
        assert await store.page(self.key("t/"), self.key("t/1")) == page[1:]
        assert await store.page(self.key("t/"), self.key("t/2a")) == []

    async def test_a_page_has_a_limit(self, store: ObjectStore) -> None:
        names = [self.key(f"many/{number:05d}") for number in range(PAGE + 1)]
        for start in range(0, len(names), 100):
            await asyncio.gather(*(store.put(name, b"") for name in names[start : start + 100]))
        page = await store.page(self.key("many/"))
        assert [stored.key for stored in page] == names[:PAGE]
        await store.delete(names[:PAGE])
        assert await store.list(self.key("many/")) == names[PAGE:]

    @pytest.mark.parametrize("name", ODD_KEYS)
    async def test_what_is_deleted_is_gone_and_nothing_else(
        self, store: ObjectStore, name: str
    ) -> None:
        for other in (name, f"{name}.", "other"):
            await store.put(self.key(other), b"1")
        await store.delete([self.key(name), self.key("absent")])
        assert await store.list(self.PREFIX) == sorted([self.key(f"{name}."), self.key("other")])
        with pytest.raises(NotFound):
            await store.get(self.key(name))
        await store.delete([self.key(name)])
        assert await store.put_if_absent(self.key(name), b"2") is True

    async def test_to_delete_nothing_is_nothing(self, store: ObjectStore) -> None:
        await store.delete([])

    async def test_uploads_under_way_are_found_and_ended(self, store: ObjectStore) -> None:
        one = await self.begin(store, self.key("t/1/a b"))
        two = await self.begin(store, self.key("t/1/c"))
        far = await self.begin(store, self.key("u"))
        assert set(await store.uploads(self.key("t/"))) == {one, two}
        await store.abort(one)
        await store.abort(one)
        assert await store.uploads(self.key("t/")) == [two]
        assert await store.uploads(self.key("u")) == [far]
        assert await store.uploads(self.key("v")) == []
        assert await store.list(self.PREFIX) == []

    async def test_a_closed_store_says_so(self, store: ObjectStore) -> None:
        await store.close()
        await store.close()
        for call in (
            store.get("k"),
            store.list(""),
            store.put("k", b""),
            store.put_if_absent("k", b""),
            store.page(""),
            store.delete(["k"]),
            store.uploads(""),
            store.abort(Upload("k", "u")),
        ):
            with pytest.raises(StoreError, match="closed"):
                await call
