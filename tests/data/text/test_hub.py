"""A hub that is not reached is known by one request, and what is not in its cache is refused within seconds."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from datasets import config
from huggingface_hub import constants

from common.errors import MachineError
from data.store.recipe import tokenizer_file
from data.text import hub
from data.text.corpora import Corpus
from data.text.sources import RowSource
from objectives.start.pretrained import located


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Takes another address for the hub, as HF_ENDPOINT does, with an empty cache and as though none had been asked."""
    for module in (constants, config):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(config, "HF_DATASETS_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    hub.hub_reason.cache_clear()

    def set_to(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        hub.hub_reason.cache_clear()

    yield set_to
    hub.hub_reason.cache_clear()
    huggingface_hub.close_session()


WANTED: dict[str, Callable[[], object]] = {
    "task.train: 'nobody/nothing'": lambda: list(RowSource(name=("nobody/nothing",)).rows()),
    "data.corpus: 'nobody/nothing'": lambda: list(Corpus(source=("nobody/nothing",)).texts()),
    "data.tokenizer: 'nobody/nothing'": lambda: tokenizer_file("nobody/nothing"),
    "'nobody/nothing'": lambda: located("nobody/nothing"),
}


@pytest.mark.parametrize("what", WANTED)
def test_what_the_hub_has_and_the_cache_has_not_is_refused_by_one_line_that_names_the_network(
    what: str, endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)  # as between the library's own tries
    endpoint("http://127.0.0.1:9")
    with pytest.raises(MachineError) as raised:
        WANTED[what]()
    message = str(raised.value)
    assert message.startswith(
        f"{what} is no file here, no copy of it is in the hub's cache, and http://127.0.0.1:9 is "
    )
    for words in ("not reached over the network (", "Connection refused)", "HF_HUB_OFFLINE=1", " or name "):
        assert words in message
    assert "\n" not in message
    assert not waited


def test_a_hub_that_answers_is_asked_once_and_its_libraries_stay_as_they_were(endpoint: Callable[[str], None]) -> None:
    asked: list[str] = []
    statuses = {200: None, 404: None, 503: "status 503"}

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(list(statuses)[len(asked) - 1])
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for reason in statuses.values():
            endpoint(f"http://127.0.0.1:{server.server_port}")
            assert [hub.hub_reason(), hub.hub_reason()] == [reason] * 2
            assert constants.HF_HUB_OFFLINE == config.HF_HUB_OFFLINE == (reason is not None)
        server.shutdown()
    assert len(asked) == 3


def test_a_hub_that_never_answers_is_waited_for_as_long_as_the_limit(
    endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert "timed out" in str(hub.hub_reason())
    assert constants.HF_HUB_OFFLINE


def test_offline_by_the_user_no_address_is_tried(
    endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint("http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_knock", lambda found: pytest.fail("it was tried"))
    assert hub.hub_reason() == "HF_HUB_OFFLINE is set"
