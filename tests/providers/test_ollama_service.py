"""An Ollama server of this machine: who starts it, who may stop it, and what is said when it does not run."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from contract import on_farm_loop
from ollama_double import VERSION, OllamaDouble
from ollama_programs import docker_calls, put_docker, put_ollama

from farm_notebook import loop
from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import (
    BackendCrashedError,
    ConfigError,
    ProviderConnectionError,
    ProviderTimeoutError,
)
from farm_notebook.providers.ollama.client import OllamaClient
from farm_notebook.providers.ollama.provider import OllamaProvider
from farm_notebook.providers.ollama.service import Service
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef

START_S = 30.0  # on a busy machine an interpreter takes its time


class Place:
    """A machine of a test's own: its PATH, its cache folder, its Ollama's disk and a free port."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.disk, self.cache = (folder / name for name in ("programs", "disk", "cache"))
        for each in (self.programs, self.disk, self.cache):
            each.mkdir()
        self.port = free_port()
        self.clients: list[OllamaClient] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state_file(self) -> Path:
        return self.cache / "ollama" / f"service-{self.port}.json"

    def config(self, **settings: Any) -> FarmConfig:
        section = {"url": self.url, "start_timeout_s": START_S} | settings
        return load_config({"ollama": section, "cache_dir": self.cache})

    def service(self, **settings: Any) -> Service:
        config = self.config(**settings)
        self.clients.append(OllamaClient(config))
        return Service(config, self.clients[-1])

    def recorded(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.state_file.read_text())
        return fields


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path)
    monkeypatch.setenv("PATH", str(place.programs))  # the machine's own ollama and docker are out of sight
    monkeypatch.setenv("OLLAMA_MODELS", str(place.disk))
    monkeypatch.setenv("FARM_TEST_DOCKER", str(place.programs))
    OllamaDouble(place.disk).install("parrot:latest")
    yield place
    loop.run_blocking(asyncio.wait_for(gathered([client.aclose() for client in place.clients]), 5))
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("OLLAMA_MODELS") == str(
            place.disk
        ) and process.pid != own_pid():
            process.kill()


@pytest.fixture
def installed(place: Place) -> Place:
    """A machine with Ollama on it."""
    put_ollama(place.programs)
    return place


@pytest.fixture
def containers(place: Place) -> Place:
    """A machine with Docker and no Ollama on its PATH; the image has one."""
    put_docker(place.programs)
    image = place.programs / "image"
    image.mkdir()
    put_ollama(image)
    return place


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any of this."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


class TestAProcess:
    @on_farm_loop
    async def test_is_started_found_and_stopped(self, installed: Place) -> None:
        service = installed.service()
        before = await service.status()
        assert (before.version, before.started_here) == (None, None)
        assert "Nothing answers" in before.trouble
        started = await service.start()
        pid = installed.recorded()["pid"]
        assert (started.version, started.started_here) == (VERSION, f"process {pid}")
        assert await installed.service().status() == started
        assert await installed.service().stop() == "stopped"
        assert not is_running(pid)
        assert (await service.status()).version is None
        assert await service.stop() == "not running"
        assert not installed.state_file.exists()

    @on_farm_loop
    async def test_is_nobodys_child_and_listens_on_loopback_only(self, installed: Place) -> None:
        await installed.service(url=f"0.0.0.0:{installed.port}").start()
        process = psutil.Process(installed.recorded()["pid"])
        assert process.pid not in [child.pid for child in psutil.Process().children(recursive=True)]
        (listening,) = (one for one in process.net_connections() if one.status == psutil.CONN_LISTEN)
        assert listening.laddr == ("127.0.0.1", installed.port)

    @on_farm_loop
    async def test_that_runs_is_not_started_again(self, installed: Place) -> None:
        first = await installed.service().start()
        assert await installed.service().start() == first

    @on_farm_loop
    async def test_that_was_killed_is_started_anew(self, installed: Place) -> None:
        service = installed.service()
        await service.start()
        pid = installed.recorded()["pid"]
        psutil.Process(pid).kill()
        await eventually(lambda: not is_running(pid))
        assert (await service.status()).started_here is None
        assert (await service.start()).version == VERSION
        assert installed.recorded()["pid"] != pid

    @on_farm_loop
    async def test_that_ends_at_once_is_told_with_its_last_words(
        self, installed: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OLLAMA_DOUBLE_DIES", "unable to create the models folder")
        with pytest.raises(BackendCrashedError, match="unable to create the models folder"):
            await installed.service().start()
        assert not installed.state_file.exists()

    @on_farm_loop
    async def test_that_never_answers_is_not_left_behind(
        self, installed: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OLLAMA_DOUBLE_MUTE", "1")
        starting = asyncio.create_task(installed.service(start_timeout_s=1.0).start())
        await eventually(installed.state_file.exists)
        pid = installed.recorded()["pid"]
        with pytest.raises(ProviderTimeoutError, match="FARM_OLLAMA__START_TIMEOUT_S") as caught:
            await starting
        assert caught.value.timer == "connect"
        assert not is_running(pid)

    @on_farm_loop
    async def test_is_not_left_behind_by_who_gives_up(
        self, installed: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OLLAMA_DOUBLE_MUTE", "1")
        starting = asyncio.create_task(installed.service().start())
        await eventually(installed.state_file.exists)
        pid = installed.recorded()["pid"]
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not is_running(pid)

    def test_is_one_where_two_processes_start_at_once(self, installed: Place) -> None:
        program = (
            "import sys; from farm_notebook import loop; from farm_notebook.config import load_config\n"
            "from farm_notebook.providers.ollama.client import OllamaClient\n"
            "from farm_notebook.providers.ollama.service import Service\n"
            "config = load_config({'ollama': {'url': sys.argv[1]}, 'cache_dir': sys.argv[2]})\n"
            "print(loop.run_blocking(Service(config, OllamaClient(config)).start()).started_here)"
        )
        command = [sys.executable, "-c", program, installed.url, str(installed.cache)]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        said = {process.communicate(timeout=START_S)[0].strip() for process in both}
        assert said == {f"process {installed.recorded()['pid']}"}

    @on_farm_loop
    async def test_that_the_system_does_not_start_is_told(self, place: Place) -> None:
        broken = place.programs / "ollama"
        broken.write_text("#!/nowhere/at/all\n")
        broken.chmod(0o755)
        with pytest.raises(ProviderConnectionError, match=r"cannot be started.*No such file"):
            await place.service().start()


class TestWhatIsNotOurs:
    @on_farm_loop
    async def test_a_server_of_somebody_else_is_used_and_left_alone(self, installed: Place) -> None:
        with OllamaDouble(installed.disk).running(installed.port):
            service = installed.service()
            assert (await service.start()).started_here is None
            assert await service.stop() == "not ours"
            assert (await service.status()).version == VERSION
        assert not installed.state_file.exists()

    @on_farm_loop
    async def test_a_process_that_got_the_id_of_a_dead_server_is_not_touched(
        self, installed: Place, stranger: subprocess.Popen[bytes]
    ) -> None:
        record = {"kind": "process", "pid": stranger.pid, "created": 1.5e9, "log": "/nowhere"}
        installed.state_file.parent.mkdir()
        installed.state_file.write_text(json.dumps(record))
        service = installed.service()
        assert (await service.status()).started_here is None
        assert await service.stop() == "not running"
        assert stranger.poll() is None
        assert not installed.state_file.exists()

    @pytest.mark.parametrize(
        "content", ["", "{}", "[1]", '{"kind": "ghost"}', '{"kind": "process", "pid": 1}']
    )
    @on_farm_loop
    async def test_a_record_that_cannot_be_read_is_no_record(self, installed: Place, content: str) -> None:
        installed.state_file.parent.mkdir()
        installed.state_file.write_text(content)
        assert (await installed.service().start()).version == VERSION
        assert await installed.service().stop() == "stopped"

    @pytest.mark.parametrize("kind", ["web page", "json", "babble"])
    @on_farm_loop
    async def test_a_port_that_something_else_has_is_told(self, installed: Place, kind: str) -> None:
        stranger = stranger_at(installed.port, kind)
        try:
            with pytest.raises(ProviderConnectionError, match=r"is no Ollama.*free port"):
                await installed.service().start()
        finally:
            stranger()
        assert not installed.state_file.exists()

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://10.1.2.3:11434", "is not this machine's own"),
            ("https://localhost:11434", "is that of a proxy"),
            ("http://localhost:11434/ollama", "is that of a proxy"),
        ],
    )
    @on_farm_loop
    async def test_what_is_elsewhere_is_neither_started_nor_stopped(
        self, installed: Place, url: str, reason: str
    ) -> None:
        service = installed.service(url=url)
        for act in (service.start, service.stop):
            with pytest.raises(ConfigError, match=reason):
                await act()

    @on_farm_loop
    async def test_a_machine_without_ollama_and_docker_is_told_where_to_get_it(self, place: Place) -> None:
        with pytest.raises(ProviderConnectionError, match=r"https://ollama\.com/download"):
            await place.service().start()


class TestAContainer:
    @on_farm_loop
    async def test_is_made_once_and_then_started_again(self, containers: Place) -> None:
        service = containers.service()
        started = await service.start()
        assert (started.version, started.started_here) == (VERSION, "container farm-ollama")
        assert await service.stop() == "stopped"
        assert (await service.status()).version is None
        assert (await containers.service().start()).started_here == "container farm-ollama"
        id_ = containers.recorded()["id"]
        assert await containers.service().stop() == "stopped"
        made, *later = docker_calls(containers.programs)
        assert made == [
            *("run", "-d", "--name", "farm-ollama", "-v", "farm-ollama:/root/.ollama"),
            *("-p", f"127.0.0.1:{containers.port}:11434", "ollama/ollama"),
        ]
        assert later == [["stop", id_], ["start", "farm-ollama"], ["stop", id_]]

    @on_farm_loop
    async def test_of_another_port_is_replaced(self, containers: Place) -> None:
        await containers.service().start()
        await containers.service().stop()
        containers.port = free_port()
        await containers.service().start()
        words = [call[0] for call in docker_calls(containers.programs)]
        assert words == ["run", "stop", "rm", "run"]
        await containers.service().stop()

    @on_farm_loop
    async def test_gets_the_gpus_where_docker_can_give_them(
        self, containers: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FARM_TEST_DOCKER_RUNTIMES", '{"nvidia": {}, "runc": {}}')
        await containers.service().start()
        assert "--gpus=all" in docker_calls(containers.programs)[0]
        await containers.service().stop()

    @on_farm_loop
    async def test_that_docker_does_not_run_is_told_in_dockers_words(
        self, containers: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = "Cannot connect to the Docker daemon.\n\nRun 'docker run --help' for more information"
        monkeypatch.setenv("FARM_TEST_DOCKER_FAILS", words)
        with pytest.raises(ProviderConnectionError, match="Cannot connect to the Docker daemon") as caught:
            await containers.service().start()
        assert "--help" not in str(caught.value)

    @on_farm_loop
    async def test_that_ends_at_once_is_told_with_its_last_words(
        self, containers: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OLLAMA_DOUBLE_DIES", "no space left on device")
        with pytest.raises(BackendCrashedError, match="no space left on device"):
            await containers.service().start()

    @on_farm_loop
    async def test_is_not_needed_where_ollama_is_installed(self, containers: Place) -> None:
        put_ollama(containers.programs)
        started = await containers.service().start()
        assert (started.started_here or "").startswith("process")


class TestAutoStart:
    @on_farm_loop
    async def test_a_question_starts_the_server_which_outlives_the_farm(self, installed: Place) -> None:
        provider = OllamaProvider(installed.config(auto_start=True))
        reply = await provider.chat(ask("hello"))
        await provider.aclose()
        assert reply.text == "hello"
        assert await installed.service().stop() == "stopped"

    @on_farm_loop
    async def test_concurrent_questions_of_several_farms_start_one(self, installed: Place) -> None:
        providers = [OllamaProvider(installed.config(auto_start=True)) for _ in range(2)]
        asked = [provider.chat(ask(f"hello {number}")) for number, provider in enumerate(providers * 2)]
        replies = await asyncio.gather(*asked)
        assert [reply.text for reply in replies] == [f"hello {number}" for number in range(4)]
        servers = [
            one
            for one in psutil.process_iter(["cmdline"])
            if str(installed.programs / "ollama") in (one.info["cmdline"] or ())
        ]
        assert [one.pid for one in servers] == [installed.recorded()["pid"]]
        await gathered([provider.aclose() for provider in providers])

    @on_farm_loop
    async def test_the_configured_models_come_in_the_background(self, installed: Place) -> None:
        provider = OllamaProvider(installed.config(auto_start=True, pull=("plain", "nobody")))
        assert (await provider.chat(ask("hello"))).text == "hello"
        await eventually(lambda: len(OllamaDouble(installed.disk).installed()) == 2)
        await eventually(lambda: all(task.done() for task in provider._background.values()))
        detail = (await provider.health_check()).detail
        assert "could not pull nobody: 'ollama:nobody' is not in Ollama's registry" in detail
        assert "pulling" not in detail
        await provider.aclose()

    @on_farm_loop
    async def test_looking_starts_nothing(self, installed: Place) -> None:
        provider = OllamaProvider(installed.config(auto_start=True))
        assert not (await provider.health_check()).healthy
        for look in (
            provider.list_models(),
            provider.unload_model("parrot"),
            provider.delete_model("parrot"),
        ):
            with pytest.raises(ProviderConnectionError):
                await look
        assert await provider.digest("parrot") is None
        assert not installed.state_file.exists()
        await provider.aclose()

    @pytest.mark.parametrize("settings", [{}, {"auto_start": True, "path": "/proxied"}], ids=["off", "proxy"])
    @on_farm_loop
    async def test_not_unless_it_is_configured_and_can_be(
        self, installed: Place, settings: dict[str, Any]
    ) -> None:
        settings = {"url": installed.url + settings.pop("path", "")} | settings
        provider = OllamaProvider(installed.config(**settings))
        with pytest.raises(ProviderConnectionError, match="`farm ollama start`"):
            await provider.chat(ask("hello"))
        assert not installed.state_file.exists()
        await provider.aclose()


def ask(text: str) -> ChatRequest:
    return ChatRequest(ModelRef("ollama", "parrot"), (ChatMessage("user", text),))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def own_pid() -> int:
    return psutil.Process().pid


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def gathered(work: list[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*work)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something outside this process, which tells nobody."""
    async with asyncio.timeout(START_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def stranger_at(port: int, kind: str) -> Callable[[], None]:
    """A server that is no Ollama; a function that ends it."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if kind == "babble":
                self.wfile.write(b"220 mail.example.com ESMTP\r\n")
                self.close_connection = True
                return
            content = b"<html>A web page</html>" if kind == "web page" else b'{"status": "fine"}'
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = HTTPServer(("127.0.0.1", port), Page)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


def test_the_machines_own_programs_are_out_of_sight(place: Place) -> None:
    assert shutil.which("ollama") is None
    assert shutil.which("docker") is None
