"""The commands of ``farm``: options, help, and what an error looks like; the work is done elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from farm_notebook import __version__
from farm_notebook.cli import terminal
from farm_notebook.cli.cassette_app import cassette
from farm_notebook.cli.config_app import config
from farm_notebook.cli.history_app import history, show_usage
from farm_notebook.cli.run_app import WithParameters, run
from farm_notebook.errors import (
    ConfigError,
    FarmError,
    InterruptedReply,
    InvalidRequestError,
    ModelNotFoundError,
    UnknownProviderError,
)

__all__ = ["app"]

EXIT_FAILED = 1
EXIT_WRONG_REQUEST = 2  # as for a wrong option
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
EXIT_PIPE_CLOSED = 141  # 128 + SIGPIPE, likewise
_WRONG_REQUEST = (ConfigError, InvalidRequestError, ModelNotFoundError, UnknownProviderError)


class _Commands(TyperGroup):
    """Ends every command with an exit code and at most one line, never a traceback of what is no bug."""

    def invoke(self, ctx: Any) -> Any:
        terminal.prepare_stdout()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            terminal.note("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except InterruptedReply as error:
            terminal.note(str(error))
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            terminal.pacify_stdout()
            raise typer.Exit(EXIT_PIPE_CLOSED) from None
        except FarmError as error:
            lines = (line.strip() for line in str(error).splitlines())
            terminal.note(f"error: {' | '.join(line for line in lines if line)}")
            code = EXIT_WRONG_REQUEST if isinstance(error, _WRONG_REQUEST) else EXIT_FAILED
            raise typer.Exit(code) from None
        except OSError as error:  # a full disk, a folder that may not be read
            terminal.pacify_stdout()
            terminal.note(f"error: {error}")
            raise typer.Exit(EXIT_FAILED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        terminal.emit(f"farm-notebook {__version__}", end="\n")
        raise typer.Exit


@app.callback()
def farm(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """One way to every model: local, cloud, yours."""


@app.command()
def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="What to ask. What is piped in is put below it.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="As `farm models` lists it.")] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="A system message.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", "-t", help="0 is greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling, up to 1.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Where to cut the answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends the answer; repeatable.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither use nor keep an answer.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask anew, and keep that answer.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object: the text and where it came from.")
    ] = False,
    stream: Annotated[bool, typer.Option(help="Write the answer as it arrives.")] = True,
    footer: Annotated[
        bool | None,
        typer.Option(help="Model, tokens and speed on stderr; by default on a terminal.", show_default=False),
    ] = None,
) -> None:
    """Ask a model. The answer, and nothing else, goes to stdout."""
    from farm_notebook.cli.chat import chat as run
    from farm_notebook.request import Options

    if no_cache and refresh:
        raise InvalidRequestError("--no-cache keeps no answer and --refresh keeps one. Choose one of them.")
    options = Options(
        model=model,
        system=system,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        stop=stop,
        cache="off" if no_cache else "refresh" if refresh else "use",
    )
    run(prompt, options, as_json=as_json, live=stream, with_footer=footer)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON array.")] = False,
) -> None:
    """List the models there are."""
    from farm_notebook.cli.models import list_models

    list_models(as_json=as_json)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A model, as `farm models` lists it.", show_default=False)],
) -> None:
    """Fetch a model, without loading it, and say where its file is."""
    from farm_notebook.cli.models import pull as run

    run(name)


@app.command()
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Have the default model answer one token.")] = False,
) -> None:
    """Say what works and how to fix what does not. Exit code 1 means that something needed is broken."""
    from farm_notebook.cli.doctor import report

    if not report(deep=deep):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def health(
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON array.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask anew what is known from just now.")] = False,
) -> None:
    """Say whether each provider can answer. Exit code 1 means that none can."""
    from farm_notebook.cli.health import report

    if not report(as_json=as_json, refresh=refresh):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def gpu(
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON array.")] = False,
) -> None:
    """Show the devices that models run on, and whose their memory is."""
    from farm_notebook.cli.gpu import show

    show(as_json=as_json)


@app.command()
def route(
    name: Annotated[
        str | None, typer.Argument(help="A model or alias; without it, the default.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Say which model would answer, who would stand in for it, and why."""
    from farm_notebook.cli.route import show

    show(name, as_json=as_json)


app.command("run", cls=WithParameters)(run)
app.add_typer(cassette, name="cassette")
app.add_typer(config, name="config")
app.add_typer(history, name="history")
app.command("usage")(show_usage)

ollama = typer.Typer(no_args_is_help=True, help="A local Ollama server: start, stop, look.")
app.add_typer(ollama, name="ollama")


@ollama.command("start")
def start_ollama() -> None:
    """Start a server unless one answers, and fetch the configured models. It goes on when this ends."""
    from farm_notebook.cli.ollama import start

    start()


@ollama.command("stop")
def stop_ollama() -> None:
    """Stop the server that was started here. Exit code 1 means that somebody else's still runs."""
    from farm_notebook.cli.ollama import stop

    if not stop():
        raise typer.Exit(EXIT_FAILED)


@ollama.command("status")
def show_ollama() -> None:
    """Say whether a server answers, and who started it. Exit code 1 means that none does."""
    from farm_notebook.cli.ollama import show

    if not show():
        raise typer.Exit(EXIT_FAILED)


cache = typer.Typer(no_args_is_help=True, help="The answers that are kept, and given again.")
app.add_typer(cache, name="cache")


@cache.command("stats")
def cache_stats(
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Say how many answers are kept, and where."""
    from farm_notebook.cli.cache import stats

    stats(as_json=as_json)


@cache.command("clear")
def cache_clear() -> None:
    """Forget all of them."""
    from farm_notebook.cli.cache import clear

    clear()
