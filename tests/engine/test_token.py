"""The token for gated models: where it is kept, who may see it, and that it is found nowhere else."""

from __future__ import annotations

import io
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from engine.checkpoint import token as token_file
from engine.checkpoint.download import Remote, download
from engine.checkpoint.fetch import fetch
from engine.checkpoint.hub import credentials, list_files, search
from engine.checkpoint.remote import remote_config
from engine.checkpoint.source import HubId
from engine.checkpoint.token import forget, keep, source_of_token, token
from engine.errors import AccessError, NetworkError
from engine.frames import ProgressFrame
from tests.engine.fake_hub import COMMIT, FakeHub, serving

SECRET = "hf_" + "S3cretS3cretS3cret"
FILES = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "model.safetensors": bytes(100_000)}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(files=dict(FILES), tokens={SECRET}), monkeypatch) as server:
        yield server


class Ring(ModuleType):
    """A keyring in memory, with what real ones do: nothing, refuse, take long."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.priority: float = 5
        self.delay, self.error, self.asked = 0.0, "", 0

    def get_keyring(self) -> Ring:
        return self

    def _act(self) -> None:
        time.sleep(self.delay)
        if self.error:
            raise RuntimeError(self.error)

    def get_password(self, service: str, user: str) -> str | None:
        self.asked += 1
        self._act()
        return self.kept.get((service, user))

    def set_password(self, service: str, user: str, secret: str) -> None:
        self._act()
        self.kept[service, user] = secret

    def delete_password(self, service: str, user: str) -> None:
        self._act()
        del self.kept[service, user]


@pytest.fixture
def ring(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Ring:
    monkeypatch.setattr(token_file, "READING", 0.2)
    monkeypatch.setattr(token_file, "WRITING", 0.2)
    ring = Ring()
    monkeypatch.setitem(sys.modules, "keyring", ring)
    return ring


def another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_file, "_known", token_file._Known())


# ---- where it is kept -----------------------------------------------------------------------------------------------


def test_without_any_there_is_none(hub: FakeHub) -> None:
    assert token() is None
    assert source_of_token() == ""


def test_memory_comes_before_the_keyring_and_that_before_a_login(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_login0000")
    assert (token(), source_of_token()) == ("hf_login0000", "login")
    ring.kept[token_file.SERVICE, token_file.USER] = "hf_keyring00"
    another_program(monkeypatch)
    assert (token(), source_of_token()) == ("hf_keyring00", "keyring")
    assert keep("hf_memory000").where == "memory"
    assert (token(), source_of_token()) == ("hf_memory000", "memory")
    forget()
    assert (token(), source_of_token()) == ("hf_login0000", "login")
    assert not ring.kept


def test_what_is_remembered_is_there_in_the_next_program(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep(f" {SECRET}\n", remember=True) == token_file.Kept("keyring")
    another_program(monkeypatch)
    assert (token(), source_of_token()) == (SECRET, "keyring")


def test_what_is_not_remembered_is_gone_in_the_next_program(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(SECRET)
    assert not ring.kept
    another_program(monkeypatch)
    assert token() is None


@pytest.mark.parametrize(
    ("delay", "error", "priority", "words"),
    [
        (1.0, "", 5, "does not answer"),
        (0.0, f"locked: {SECRET}", 5, "refused it (RuntimeError)"),
        (0.0, "", 0.5, "no keyring that is safe"),
        (0.0, "", -1, "no keyring that is safe"),
    ],
)
def test_a_keyring_that_does_not_work_is_no_error(
    ring: Ring, monkeypatch: pytest.MonkeyPatch, delay: float, error: str, priority: float, words: str
) -> None:
    """Slow (a headless machine), locked, a plain file."""
    ring.delay, ring.error, ring.priority = delay, error, priority
    monkeypatch.setenv("HF_TOKEN", "hf_login0000")
    began = time.monotonic()
    assert token() == token() == "hf_login0000"
    assert ring.asked <= 1  # the second time it is not waited for again
    kept = keep(SECRET, remember=True)
    assert kept.where == "memory"
    assert words in kept.sentence
    assert SECRET not in kept.sentence
    assert token() == SECRET
    forget()
    assert time.monotonic() - began < 8


def test_no_keyring_package_is_no_error(hub: FakeHub) -> None:
    kept = keep(SECRET, remember=True)
    assert kept.where == "memory"
    assert "package keyring" in kept.sentence
    forget()


def test_a_keyring_that_answers_late_is_heard_then(ring: Ring) -> None:
    ring.kept[token_file.SERVICE, token_file.USER], ring.delay = SECRET, 0.4
    assert token() is None
    time.sleep(0.4)
    assert token() == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "hf",
        "hf_ab cd efgh",
        f"{SECRET}\nX-Evil: 1",
        f"{SECRET}\r\n\r\nGET /",
        "hf_ü" * 10,
        "x" * 1000,
        "hf_\0" * 9,
        'hf_"quoted"',
        "<script>alert(1)</script>",
    ],
)
def test_what_cannot_be_a_token_is_refused_before_it_is_sent(hub: FakeHub, text: str) -> None:
    with pytest.raises(AccessError, match="no token of the hub") as caught:
        keep(text)
    assert not text.strip() or text.strip() not in str(caught.value)
    assert token() is None


def test_a_saved_login_that_cannot_be_one_is_refused_too(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_with blanks in it")
    with pytest.raises(AccessError, match="HF_TOKEN"):
        search("model")
    assert not hub.requests


def test_a_saved_login_in_a_file_is_used(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    assert (token(), source_of_token()) == (SECRET, "login")


# ---- gated models ---------------------------------------------------------------------------------------------------


def test_a_gated_model_can_be_had_with_the_token(hub: FakeHub, tmp_path: Path) -> None:
    hub.gated = "manual"
    with pytest.raises(AccessError, match="log in") as caught:
        fetch("org/model", cache=tmp_path)
    assert (caught.value.repo, caught.value.status, caught.value.gated) == ("org/model", 401, True)
    keep("hf_not_accepted")
    with pytest.raises(AccessError, match="terms") as caught:
        fetch("org/model", cache=tmp_path)
    assert (caught.value.status, caught.value.gated) == (403, True)
    keep(SECRET)
    assert (fetch("org/model", cache=tmp_path).path / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_the_token_goes_with_every_question_to_the_hub(hub: FakeHub) -> None:
    keep(SECRET)
    search("org/model")
    list_files(HubId("org/model"), lambda: None)
    remote_config(HubId("org/model"))
    assert len(hub.logins) > 4
    assert {login for _, login in hub.logins} == {f"Bearer {SECRET}"}


def test_a_saved_login_is_not_sent_by_the_library_behind_our_back(hub: FakeHub, tmp_path: Path) -> None:
    fetch("org/model", cache=tmp_path)
    search("org/model")
    assert {login for _, login in hub.logins} == {""}


def test_a_token_that_was_withdrawn_says_so(hub: FakeHub, tmp_path: Path) -> None:
    """The hub refuses everything then, also what everybody may see."""
    hub.withdrawn = SECRET
    fetch("org/model", cache=tmp_path / "before")
    keep(SECRET)
    for act in (
        lambda: search("model"),
        lambda: search("org/model"),
        lambda: remote_config(HubId("org/model")),
        lambda: fetch("org/model", cache=tmp_path / "after"),
    ):
        with pytest.raises(AccessError, match="does not accept the token"):
            act()
    with pytest.raises(AccessError, match="does not accept the token"):
        download(
            Remote(f"{hub.url}/x", headers={"Authorization": f"Bearer {SECRET}"}, repo="org/model"),
            tmp_path / "x",
            lambda done: None,
        )
    forget()
    assert search("org/model")


# ---- who may see it -------------------------------------------------------------------------------------------------


def test_another_host_never_sees_it(hub: FakeHub, tmp_path: Path) -> None:
    """The hub sends large files from elsewhere."""
    keep(SECRET)
    hub.gated = "auto"
    with FakeHub(files=dict(FILES)) as elsewhere:
        hub.faults.elsewhere = elsewhere.url
        fetch("org/model", cache=tmp_path)
        remote_config(HubId("org/model"))
        assert elsewhere.asked("model.safetensors") == [""]
        assert {login for _, login in elsewhere.logins} == {""}


def test_a_refusal_of_another_host_is_no_matter_of_tokens(hub: FakeHub, tmp_path: Path) -> None:
    with FakeHub(files=dict(FILES)) as elsewhere:
        hub.faults.elsewhere = elsewhere.url
        elsewhere.faults.status = 403
        with pytest.raises(NetworkError) as caught:
            fetch("org/model", cache=tmp_path)
    assert type(caught.value) is NetworkError


def test_where_the_hub_redirects_to_itself_it_goes_along(hub: FakeHub, tmp_path: Path) -> None:
    """Small files come from another path of the same hub, which asks for the login again."""
    keep(SECRET)
    hub.gated = "auto"
    hub.faults.refusals = [(307, {"Location": f"/org/model/resolve/{COMMIT}/config.json"})]
    remote = Remote(f"{hub.url}/old/name/resolve/{COMMIT}/config.json", headers={"Authorization": f"Bearer {SECRET}"})
    download(remote, tmp_path / "config.json", lambda done: None)
    assert [login for _, login in hub.logins] == [f"Bearer {SECRET}"] * 2


def test_the_library_does_not_send_it_where_we_would_not(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would send a saved login over plain http to another computer."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr("engine.checkpoint.hub.HERE", ())
    assert token() == SECRET
    search("model")
    search("org/model")
    remote_config(HubId("org/model"))
    fetch("org/model", cache=tmp_path)
    assert {login for _, login in hub.logins} == {""}


def test_plain_http_to_another_computer_never_carries_it(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(SECRET)
    addresses = {
        "http://hub.example": None,
        "http://127.0.0.1.example": None,
        "http://localhost.example:80": None,
        "ftp://127.0.0.2": None,
        "https://hub.example": SECRET,
        "http://localhost:8080": SECRET,
        "http://[::1]:8080": SECRET,
    }
    for address, seen in addresses.items():
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert credentials() == seen


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "data:,x"])
def test_redirects_to_what_is_not_the_web_are_refused(hub: FakeHub, tmp_path: Path, location: str) -> None:
    hub.faults.refusals = [(302, {"Location": location})]
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1"):
        download(Remote(f"{hub.url}/x"), tmp_path / "x", lambda done: None)
    assert not (tmp_path / "x").exists()


def test_from_https_nobody_is_sent_to_http() -> None:
    import urllib.error
    import urllib.request

    from engine.checkpoint.download import _Redirects

    asked = urllib.request.Request("https://hub.example/x")
    asked.add_unredirected_header("Authorization", f"Bearer {SECRET}")
    go = _Redirects().redirect_request
    with pytest.raises(urllib.error.URLError, match="unsafe"):
        go(asked, io.BytesIO(), 302, "", {}, "http://hub.example/x")
    for address, login in (
        ("https://hub.example/y", f"Bearer {SECRET}"),
        ("https://hub.example:444/y", None),
        ("https://cdn.example/y", None),
        ("https://hub.example.evil/y", None),
    ):
        assert go(asked, None, 302, "", {}, address).unredirected_hdrs.get("Authorization") == login


def test_it_is_found_nowhere(
    hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Frames, manifests, errors, tracebacks, logs, the output, the addresses that the hub sees."""
    caplog.set_level(logging.DEBUG)
    keep(SECRET)
    hub.gated = "auto"
    seen: list[str] = []

    def progress(frame: ProgressFrame) -> None:
        seen.append(repr(frame))

    def attempt() -> None:
        try:
            fetch("org/model", cache=tmp_path, progress=progress)
        except NetworkError as error:
            seen.extend((str(error), repr(error), repr(error.__cause__)))
            seen.append("".join(traceback.format_exception(error)))

    hub.faults.cut_after = 50_000
    attempt()
    seen.extend(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    hub.faults.cut_after, hub.faults.status = None, 401
    attempt()
    hub.faults.status = 0
    hub.tokens.clear()
    attempt()
    hub.tokens.add(SECRET)
    fetched = fetch("org/model", cache=tmp_path, progress=progress)
    seen.append(repr(fetched))
    seen.append(repr(list_files(HubId("org/model"), lambda: None)))
    seen.extend(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    seen.append(caplog.text)
    seen.extend(capfd.readouterr())
    seen.extend(path for path, _ in hub.logins)
    assert len(seen) > 20
    assert not [text[max(0, text.index(SECRET) - 300) : text.index(SECRET) + 60] for text in seen if SECRET in text]


def test_it_is_not_in_an_unexpected_error_either(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(SECRET)

    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("engine.checkpoint.download._opener", broken)
    with pytest.raises(RuntimeError) as caught:
        remote_config(HubId("org/model"))
    assert SECRET not in "".join(traceback.format_exception(caught.value))
