"""Searching the hub and listing a repository: against a hub on this computer, with the answers that real ones give."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub.constants
import pytest

from engine.checkpoint import hub as hub_file
from engine.checkpoint import hub_client, retries
from engine.checkpoint.hub import choices, list_files, search
from engine.checkpoint.listing import LONGEST_NAME, Listing, chosen, may_be_fetched, tag_of
from engine.checkpoint.source import HubId, hub_id, resolve
from engine.errors import AccessError, Cancelled, NetworkError, SourceError
from tests.engine.fake_hub import COMMIT, FakeHub, Repository, serving

ROW = {"tags": ["safetensors", "license:mit"], "pipeline_tag": "text-generation", "library_name": "transformers"}
MODELS = {
    "one/llama": Repository(row={**ROW, "downloads": 5, "likes": 2, "lastModified": "2024-03-01T10:00:00.000Z"}),
    "two/llama-big": Repository(row={**ROW, "downloads": 70}, gated="manual"),
    "two/llama-gguf": Repository(row={"tags": ["gguf"], "downloads": 30}),
    "two/llama-pickle": Repository(row={"tags": ["pytorch"], "pipeline_tag": "text-generation", "downloads": 900}),
    "two/llama-picture": Repository(row={"tags": ["safetensors"], "pipeline_tag": "text-to-image", "downloads": 999}),
    "three/qwen": Repository(row={**ROW, "downloads": 50}),
}


def nothing() -> None:
    return None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub("org/model", {"config.json": b"{}"}, others=dict(MODELS)), monkeypatch) as server:
        yield server


# ---- the search -----------------------------------------------------------------------------------------------------


def test_what_could_be_loaded_is_found_the_most_downloaded_first(hub: FakeHub) -> None:
    found = search("LLAMA")
    assert [model.id for model in found] == ["two/llama-big", "two/llama-gguf", "one/llama"]
    last = found[-1]
    assert (last.downloads, last.likes, last.licence, last.library, last.gated) == (5, 2, "mit", "transformers", "")
    assert last.updated is not None
    assert last.updated.isoformat() == "2024-03-01T10:00:00+00:00"
    assert found[0].gated == "manual"
    assert found[0].updated is None


def test_a_search_is_one_request_that_says_what_it_wants(hub: FakeHub) -> None:
    search("llama", limit=1)
    (query,) = hub.queries
    assert query["sort"] == ["downloads"]
    assert query["search"] == ["llama"]
    assert "gated" in query["expand"]
    assert len(search("llama", limit=1)) == 1


def test_an_exact_id_comes_first_even_where_the_search_does_not_know_it(hub: FakeHub) -> None:
    hub.others["two/llama-pickle-copy"] = Repository(row={"downloads": 1})
    assert [model.id for model in search("one/llama")][:1] == ["one/llama"]
    assert [model.id for model in search("two/llama-pickle")] == ["two/llama-pickle"]
    assert [model.id for model in search("org/model@main")] == ["org/model"]


def test_an_id_that_is_not_there_is_no_error(hub: FakeHub) -> None:
    assert search("nobody/nothing") == ()
    assert search("a--b/nothing") == ()  # no id that the hub can have


def test_no_words_list_the_most_downloaded(hub: FakeHub) -> None:
    assert [model.id for model in search("  ")][:2] == ["two/llama-big", "three/qwen"]
    assert "search" not in hub.queries[-1]


def test_odd_words_do_no_harm(hub: FakeHub) -> None:
    for text in ("a&limit=0", "\n\x00", "x" * 10_000, "ä/ö", "../..", "%2e%2e/%2e"):
        assert search(text) == ()


@pytest.mark.parametrize(
    "answer",
    [
        b" ",
        b"not json",
        b"{}",
        b'{"error": "x"}',
        b"[1, 2]",
        b"[{}]",
        b'[{"id": 5}]',
        b'[{"id": "a/b", "tags": "safetensors"}]',
        b'[{"id": "a/b", "tags": [1]}]',
        b'[{"id": "a/b", "downloads": "many"}]',
        b'[{"id": "a/b", "lastModified": "yesterday"}]',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_malformed_answer_is_one_sentence(hub: FakeHub, answer: bytes) -> None:
    hub.faults.api = answer
    with pytest.raises(NetworkError, match="gave an answer that cannot be read") as caught:
        search("llama")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert ("no list of models" in str(caught.value)) == answer.startswith(b"{")


def test_what_could_not_be_asked_for_is_left_out(hub: FakeHub) -> None:
    for name in ("gpt2", "../../etc", "a/b:c", "a/b@c", "a/b c", "/etc", "a/\u202eb", ""):
        hub.others[name] = Repository(row={**ROW, "downloads": 10_000})
    assert [model.id for model in search("")][:2] == ["two/llama-big", "three/qwen"]


def test_odd_tags_are_left_out(hub: FakeHub) -> None:
    tags = ["safetensors", "license:\x1b[31m", "x" * 1000, "fine", *map(str, range(500))]
    hub.others = {"a/b": Repository(row={"tags": tags})}
    (model,) = search("a/b")
    assert model.licence == ""
    assert "fine" in model.tags
    assert len(model.tags) <= 100


# ---- slow, endless and huge answers ---------------------------------------------------------------------------------


def waiting_threads() -> list[threading.Thread]:
    """Those that wait for a server while the user may cancel (``engine/checkpoint/patience.py``)."""
    return [thread for thread in threading.enumerate() if "(run)" in thread.name]


def test_an_endless_answer_ends_at_the_limit(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "LARGEST_ANSWER", 2**20)
    hub.faults.endless = "api"
    began = time.monotonic()
    with pytest.raises(NetworkError, match="more than 1048576 bytes"):
        search("llama")
    assert time.monotonic() - began < 8


def test_an_answer_that_trickles_ends_at_the_deadline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte comes within the timeout, the whole never."""
    monkeypatch.setattr(hub_client, "DEADLINE", 0.3)
    hub.faults.trickle = 0.02
    before, began = set(threading.enumerate()), time.monotonic()
    with pytest.raises(NetworkError, match=r"more than 0\.3 s"):
        search("llama")
    assert time.monotonic() - began < 8
    while [thread for thread in waiting_threads() if thread not in before]:  # who reads on to the end?
        assert time.monotonic() - began < 8
        time.sleep(0.02)


def test_a_silent_hub_is_given_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the question and never answers; nobody listens for it for ever."""
    monkeypatch.setattr(hub_client, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        before, began = set(threading.enumerate()), time.monotonic()
        with pytest.raises(NetworkError, match="cannot be reached"):
            search("llama")
        with pytest.raises(NetworkError, match="cannot be reached"):
            list_files(HubId("org/model"), nothing)
        assert time.monotonic() - began < 8
        while [thread for thread in waiting_threads() if thread not in before]:  # who listens on?
            assert time.monotonic() - began < 8
            time.sleep(0.02)


def test_a_question_that_never_ends_is_given_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where no timeout and no limit holds."""
    monkeypatch.setattr(hub_file, "_rows", lambda *arguments: time.sleep(3))
    monkeypatch.setattr(hub_file, "DEADLINE", 0.1)
    monkeypatch.setattr(hub_file, "TIMEOUT", 0.1)
    began = time.monotonic()
    with pytest.raises(NetworkError, match="is too slow"):
        search("llama")
    assert time.monotonic() - began < 8


def test_a_huge_listing_is_read_and_a_larger_one_refused(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files = {f"folder/file-{number}.json": b"" for number in range(20_000)}
    assert len(list_files(HubId("org/model"), nothing).files) == 20_000
    monkeypatch.setattr(hub_client, "LARGEST_ANSWER", 2**18)
    with pytest.raises(NetworkError, match="more than 262144 bytes"):
        list_files(HubId("org/model"), nothing)


def test_a_packed_answer_is_refused(hub: FakeHub) -> None:
    """A few packed bytes may stand for gigabytes."""
    hub.faults.packed = True
    with pytest.raises(NetworkError, match="packed"):
        search("llama")


def test_the_limits_are_for_our_own_questions_only(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "LARGEST_ANSWER", 10)
    hub_client.within_limits(lambda: None)  # in this thread
    api = huggingface_hub.HfApi(endpoint=hub.url, token=False)
    assert len(list(api.list_models(search="llama", limit=5))) == 5


def test_a_hub_that_sends_on_and_on_is_given_up(hub: FakeHub) -> None:
    hub.faults.refusals = [(307, {"Location": f"/api/models?page={number}"}) for number in range(50)]
    with pytest.raises(NetworkError, match="sends on to"):
        search("llama")
    assert len(hub.requests) <= hub_client.MOST_REQUESTS + 1


def test_several_ask_at_once(hub: FakeHub) -> None:
    huggingface_hub.utils.close_session() if hasattr(huggingface_hub.utils, "close_session") else None
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: search("llama"), range(24)))
    assert len(set(found)) == 1


def test_a_search_can_be_cancelled(hub: FakeHub) -> None:
    hub.faults.trickle = 0.5
    began = time.monotonic()

    def cancel() -> None:
        if time.monotonic() - began > 0.2:
            raise Cancelled

    with pytest.raises(Cancelled):
        search("llama", check=cancel)
    assert time.monotonic() - began < 8


def test_what_a_check_raises_comes_out_as_it_is(hub: FakeHub) -> None:
    def check() -> None:
        raise ValueError("of the caller")

    with pytest.raises(ValueError, match="of the caller"):
        search("llama", check=check)


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kind"), [(401, AccessError), (403, AccessError), (404, NetworkError)])
def test_a_refused_listing(hub: FakeHub, status: int, kind: type[NetworkError]) -> None:
    hub.faults.refusals = [(status, {"X-Error-Code": "GatedRepo"})]
    with pytest.raises(kind) as caught:
        list_files(HubId("org/model"), nothing)
    assert type(caught.value) is kind
    if isinstance(caught.value, AccessError):
        assert (caught.value.repo, caught.value.status, caught.value.gated) == ("org/model", status, True)


def test_a_hub_that_asks_to_wait_is_obeyed(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.0, 0.0))
    hub.faults.refusals = [(429, {"Retry-After": "1"})]
    said: list[str] = []
    began = time.monotonic()
    assert list_files(HubId("org/model"), nothing, said.append).commit == COMMIT
    assert 0.9 < time.monotonic() - began < 8
    assert said[0] == "127.0.0.1 asks to wait 1 s"


def test_a_hub_that_asks_for_too_long_a_wait_is_not_waited_for(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.0,))
    hub.faults.refusals = [(429, {"Retry-After": "3600"})]
    with pytest.raises(NetworkError, match="too many requests and asks to wait 3600 s"):
        list_files(HubId("org/model"), nothing)


def test_a_busy_hub_is_asked_again_and_the_waiting_can_be_cancelled(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01, 5.0))
    hub.faults.refusals = [(503, {}), (500, {})]
    assert list_files(HubId("org/model"), nothing).commit == COMMIT
    hub.faults.refusals = [(502, {})] * 4

    def cancel(text: str) -> None:
        if "next try in 5 s" in text:
            raise Cancelled

    with pytest.raises(Cancelled):
        list_files(HubId("org/model"), nothing, cancel)


def test_a_hub_that_stays_busy_is_given_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.01,) * 3)
    hub.faults.status = 503
    with pytest.raises(NetworkError, match=r"refused the request \(503\)"):
        search("llama")
    assert len(hub.requests) == 4  # not more often by the library


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "9" * 5000}, 999_999_999),
        ({"RateLimit": '"api";r=0;t=33'}, 33),
        ({}, None),
    ],
)
def test_what_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retries.asked_wait(headers) == seconds


def test_without_a_network_the_search_ends_soon(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(NetworkError, match="cannot be reached"):
        search("llama")
    assert time.monotonic() - began < 8


def test_offline_mode_is_obeyed(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        search("llama")
    assert not hub.requests


# ---- listings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sibling",
    [
        {"rfilename": 5},
        {"rfilename": "a.json", "size": -1},
        {"rfilename": "a.json", "size": "big"},
        {"rfilename": "a.json", "size": True},
        {"rfilename": "a.json", "size": 2**70},
        {"rfilename": "a.json", "size": 5, "blobId": "../../x"},
        {"rfilename": "a.json", "size": 5, "lfs": {"sha256": "x", "size": 5, "pointerSize": 1}},
        {"rfilename": "a.json", "size": 5, "lfs": "yes"},
        {},
    ],
)
def test_a_malformed_listing_is_one_sentence(hub: FakeHub, sibling: dict) -> None:
    hub.faults.api = json.dumps({"id": "org/model", "sha": COMMIT, "siblings": [sibling]}).encode()
    with pytest.raises(NetworkError, match="cannot be read"):
        list_files(HubId("org/model"), nothing)


@pytest.mark.parametrize("commit", [None, "main", "../x", COMMIT.upper()])
def test_a_listing_without_a_commit_is_refused(hub: FakeHub, commit: str | None) -> None:
    hub.faults.api = json.dumps({"id": "org/model", "sha": commit, "siblings": []}).encode()
    with pytest.raises(NetworkError, match="names no commit"):
        list_files(HubId("org/model"), nothing)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "a/b-Q4_K_M.gguf",
        "x.json",
        "chat_template.jinja",
        "merges.txt",
        "vocab.txt",
        "tokenizer.model",
        "sub/vocab.json",
    ],
)
def test_what_may_be_fetched(name: str) -> None:
    assert may_be_fetched(name)


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "model.pt",
        "run.py",
        "README.md",
        "x.exe",
        "onnx/model.onnx",
        "model.safetensors.sh",
        "",
        "../x.json",
        "/etc/x.json",
        "a/../x.json",
        "a//x.json",
        "./x.json",
        "a\\x.json",
        "c:x.json",
        "C:\\x.json",
        "x.json:stream.gguf",
        "con.json",
        "sub/NUL.gguf",
        "aux",
        "x.json ",
        ".hidden.json",
        "ü.json",
        "x\n.json",
        "x.json\0.gguf",
        "a" * LONGEST_NAME + ".json",
        "merges.txt/x",
        "other.txt",
        "x.JSON\u202e",
    ],
)
def test_what_is_never_fetched(name: str) -> None:
    assert not may_be_fetched(name)
    listing = list_of({name: 1})
    with pytest.raises(SourceError, match="no file that is fetched"):
        listing.remote(name)


# ---- GGUF choices ---------------------------------------------------------------------------------------------------


def list_of(files: dict[str, int]) -> Listing:
    remotes = {name: hub_file.remote_file("org/g", COMMIT, name, size, "", None) for name, size in files.items()}
    return Listing("org/g", COMMIT, remotes)


GGUFS = list_of(
    {
        "m-Q4_K_M.gguf": 40,
        "m-q8_0.gguf": 80,
        "m.F16.gguf": 160,
        "BIG/m-UD-Q2_K_XL-00001-of-00002.gguf": 10,
        "BIG/m-UD-Q2_K_XL-00002-of-00002.gguf": 11,
        "m-IQ3_M-00001-of-00002.gguf": 5,
        "m-Q4_K_S.gguf": 39,
        "m-Q5_K_M.gguf": 50,
        "other-Q5_K_M.gguf": 51,
        "plain.gguf": 7,
        "mmproj-F16.gguf": 3,
        "../evil-Q6_K.gguf": 1,
        "README.md": 2,
    }
)


def test_the_choices_of_a_repository() -> None:
    found = {choice.name: choice for choice in choices(GGUFS)}
    assert list(found) == [
        "plain.gguf",
        "UD-Q2_K_XL",
        "Q4_K_S",
        "Q4_K_M",
        "m-Q5_K_M.gguf",
        "other-Q5_K_M.gguf",
        "Q8_0",
        "F16",
    ]
    split = found["UD-Q2_K_XL"]
    assert split.size == 21
    assert split.file == "BIG/m-UD-Q2_K_XL-00001-of-00002.gguf"
    assert len(split.parts) == 2
    assert found["plain.gguf"].tag == ""


@pytest.mark.parametrize(
    ("wanted", "file"),
    [
        ("Q4_K_M", "m-Q4_K_M.gguf"),
        ("q4_k_m", "m-Q4_K_M.gguf"),
        ("Q8_0", "m-q8_0.gguf"),
        ("f16", "m.F16.gguf"),
        ("Q2_K_XL", "BIG/m-UD-Q2_K_XL-00001-of-00002.gguf"),
        ("UD-Q2_K_XL", "BIG/m-UD-Q2_K_XL-00001-of-00002.gguf"),
        ("BIG/m-UD-Q2_K_XL-00002-of-00002.gguf", "BIG/m-UD-Q2_K_XL-00001-of-00002.gguf"),
        ("other-Q5_K_M.gguf", "other-Q5_K_M.gguf"),
        ("plain.gguf", "plain.gguf"),
    ],
)
def test_a_file_part_means_one_of_them(wanted: str, file: str) -> None:
    assert chosen(GGUFS, wanted).file == file


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("Q5_K_M", "has 2 GGUF files Q5_K_M; choose one of org/g:m-Q5_K_M.gguf"),
        ("Q4_K", "has no GGUF file Q4_K; choose one of org/g:plain.gguf"),
        ("IQ3_M", "has no GGUF file IQ3_M"),  # a part is missing
        ("Q6_K", "has no GGUF file"),
        ("mmproj-F16.gguf", "has no GGUF file"),
        ("(Q4|Q8).*", "has no GGUF file"),
    ],
)
def test_a_file_part_that_means_none_or_several(wanted: str, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        chosen(GGUFS, wanted)
    assert words in str(caught.value)


def test_a_repository_without_gguf_says_so() -> None:
    with pytest.raises(SourceError, match="has no GGUF file on the hub"):
        chosen(list_of({"config.json": 1}), "Q4_K_M")


def test_the_tag_of_a_file() -> None:
    assert tag_of("Qwen3-8B-Q4_K_M.gguf") == "Q4_K_M"
    assert tag_of("Q4_0/model-00001-of-00003.gguf") == "Q4_0"
    assert tag_of("SmolLM2-135M-Instruct.Q4_1.gguf") == "Q4_1"
    assert tag_of("gpt-oss-20b-mxfp4.gguf") == "MXFP4"
    assert tag_of("Q2D2.gguf") == ""


# ---- the grammar of hub ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hub"),
    [
        ("org/name", HubId("org/name")),
        ("org/name:Q4_K_M", HubId("org/name", "main", "Q4_K_M")),
        ("org/name@v1/x:m.gguf", HubId("org/name", "v1/x", "m.gguf")),
        ("org/name:sub/dir/m-00001-of-00002.gguf", HubId("org/name", "main", "sub/dir/m-00001-of-00002.gguf")),
    ],
)
def test_hub_ids_with_a_file(text: str, hub: HubId) -> None:
    assert hub_id(text) == hub
    assert str(hub) == text
    assert resolve(text).hub == hub


@pytest.mark.parametrize(
    "text",
    [
        r"C:\models\x.gguf",
        "C:/models/x.gguf",
        "C:x/y",
        r"org\name:Q4",
        "org/name:",
        "org/name:../x.gguf",
        "/org/x:Q4",
        "org/name:/x.gguf",
        "org/name:a//b.gguf",
        "org/name:sub/Q4",
        "org/name:" + "x" * 300,
        "org/name:Q4:Q5",
        "a:b/c",
        "org/name:Q4 K",
        "./org:x/y",
        "~/org:Q4",
        "org/name:.hidden.gguf",
        "http://host/org/name:Q4",
    ],
)
def test_what_is_no_hub_id(text: str) -> None:
    assert hub_id(text) is None
    with pytest.raises(SourceError, match="no hub id"):
        resolve(text)


def test_a_file_of_this_computer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "name:Q4_K_M").write_bytes(b"GGUF")
    assert resolve("org/name:Q4_K_M").kind == "gguf"
