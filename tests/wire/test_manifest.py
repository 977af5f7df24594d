"""Manifests and permissions: the field's own manifests, and refusals to the letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import FrameInvalid, MisuseError, RemoteCallError
from ssb_rtc.wire.manifest import Kind, Manifest, Permissions, check_call, split_name

MANIFEST = Manifest(
    {
        ("whoami",): Kind.SYNC,
        ("manifest",): Kind.ASYNC,
        ("createHistoryStream",): Kind.SOURCE,
        ("ebt", "replicate"): Kind.DUPLEX,
        ("blobs", "get"): Kind.SOURCE,
        ("blobs", "add"): Kind.SINK,
    }
)


@pytest.mark.parametrize("name", ["legacy", "modern"])
def test_manifests_of_the_field_there_and_back(wire_captures: Path, name: str) -> None:
    nested = json.loads((wire_captures / f"{name}.manifest.json").read_text())
    manifest = Manifest.from_json(nested)
    assert manifest.to_json() == nested
    assert manifest.kind_of(("ebt", "replicate")) is Kind.DUPLEX
    assert manifest.kind_of(("whoami",)) is Kind.SYNC
    assert manifest.kind_of(("ebt",)) is None


names = st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=3).map(tuple)


@given(st.dictionaries(names, st.sampled_from(Kind), max_size=6))
def test_nested_and_flat_say_the_same(kinds: dict[tuple[str, ...], Kind]) -> None:
    manifest = Manifest(kinds)
    clash = any(a != b and b[: len(a)] == a for a in kinds for b in kinds)
    if clash:
        with pytest.raises(MisuseError):
            manifest.to_json()
    else:
        assert Manifest.from_json(manifest.to_json()) == manifest


jsons = st.recursive(
    st.none() | st.integers() | st.sampled_from(["async", "duplex", "other"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(jsons)
def test_manifests_from_outside_only_ever_raise_frame_invalid(nested: Any) -> None:
    try:
        manifest = Manifest.from_json(nested)
    except FrameInvalid:
        return
    assert all(isinstance(manifest.kind_of(name), Kind) for name in manifest)


def test_manifests_have_limits() -> None:
    deep: Any = "async"
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(FrameInvalid):
        Manifest.from_json(deep)
    with pytest.raises(FrameInvalid, match="more than 1024"):
        Manifest.from_json({str(number): "async" for number in range(2000)})
    with pytest.raises(FrameInvalid):
        Manifest.from_json({"a": "unheard-of"})


def test_merging_and_looking_up() -> None:
    merged = MANIFEST.merged(Manifest({("publish",): Kind.ASYNC}))
    assert len(merged) == len(MANIFEST) + 1
    assert ("publish",) in merged
    assert ("publish",) not in MANIFEST
    with pytest.raises(MisuseError, match="whoami"):
        MANIFEST.merged(Manifest({("whoami",): Kind.SYNC}))
    assert "ebt.replicate:duplex" in repr(MANIFEST)


def test_names() -> None:
    assert split_name("whoami") == ("whoami",)
    assert split_name("ebt.replicate") == ("ebt", "replicate")
    for dotted in ("", ".", "a.", ".a", "a..b"):
        with pytest.raises(MisuseError):
            split_name(dotted)


def test_permissions() -> None:
    remote = Permissions({"createHistoryStream", "blobs", "ebt.replicate"})
    assert remote.allows(("createHistoryStream",))
    assert remote.allows(("blobs", "get"))
    assert remote.allows(("ebt", "replicate"))
    assert not remote.allows(("ebt",))
    assert not remote.allows(("ebt", "request"))
    assert not remote.allows(("publish",))
    assert not remote.allows(())
    assert Permissions().allows(("anything",))
    assert not Permissions(()).allows(("anything",))
    assert remote.merged(Permissions({"publish"})).allows(("publish",))
    assert remote.merged(Permissions({"publish"})).allows(("blobs", "get"))
    assert remote.merged(Permissions()).allows(("anything",))


@pytest.mark.parametrize(
    ("name", "kind", "allow", "message"),
    [
        (("ebt", "replicate"), Kind.DUPLEX, (), "method:ebt,replicate is not in list of allowed methods"),
        (("publish",), Kind.ASYNC, (), "method:publish is not in list of allowed methods"),
        (("ebt", "unknown"), Kind.DUPLEX, None, "muxrpc: no such command: ebt.unknown"),
        (("whoami",), Kind.SOURCE, None, "no source:whoami"),
        (("ebt", "replicate"), Kind.ASYNC, None, "no async:ebt,replicate"),
        (("blobs", "add"), Kind.SOURCE, None, "no source:blobs,add"),
    ],
)
def test_refusals_to_the_letter(name: tuple[str, ...], kind: Kind, allow: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(RemoteCallError) as caught:
        check_call(MANIFEST, Permissions(allow), name, kind)
    assert caught.value.message == message
    assert caught.value.name == "Error"


def test_no_such_command_to_the_letter() -> None:
    with pytest.raises(RemoteCallError, match=r"^muxrpc: no such command: ebt\.replicate$"):
        check_call(Manifest(), Permissions(), ("ebt", "replicate"), Kind.DUPLEX)


def test_calls_that_are_allowed() -> None:
    assert check_call(MANIFEST, Permissions(), ("ebt", "replicate"), Kind.DUPLEX) is Kind.DUPLEX
    # The wire does not tell sync from async.
    assert check_call(MANIFEST, Permissions(), ("whoami",), Kind.ASYNC) is Kind.SYNC
    assert check_call(MANIFEST, Permissions(["manifest"]), ("manifest",), Kind.SYNC) is Kind.ASYNC
