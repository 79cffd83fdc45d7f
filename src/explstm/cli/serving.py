"""The command that listens."""

from pathlib import Path
from typing import Annotated

import typer

from explstm.cli.arguments import Debug


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8765,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must show.")
    ] = None,
    trusted_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which clients call the server, such as that of a proxy."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of uploads and jobs; made when missing.")] = (
        Path("explstm-server")
    ),
    workers: Annotated[int, typer.Option(min=0, max=64, help="Jobs that run at once.")] = 1,
    wrong_tokens: Annotated[
        int,
        typer.Option(
            min=0,
            help="Wrong tokens in a minute after which an address must wait; 0 behind a proxy on "
            "another machine, which makes all clients one address.",
        ),
    ] = 100,
    debug: Debug = False,
) -> None:
    """Show a page, and answer requests, that forecast any data."""
    from explstm.server.run import serve as listen
    from explstm.server.settings import Settings, read_token

    settings = Settings(
        host=host,
        port=port,
        token=None if token_file is None else read_token(token_file),
        trusted_hosts=tuple(trusted_host or ()),
        data=data,
        workers=workers,
        wrong_tokens=wrong_tokens,
    )
    where = f"[{host}]" if ":" in host else host
    said = f"explstm: http://{where}:{port}/ (Ctrl-C ends it)"
    listen(settings, lambda: typer.echo(said, err=True))
