"""Starts `modelwright run` for a test, on free ports of 127.0.0.1 and with a data folder of its own."""

import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path

# Long enough for a loaded machine; nothing is asserted about how long things take.
PATIENCE = 120.0

# What the server needs of the environment: nothing of the developer's credentials or settings reaches a test.
KEPT = ("HOME", "PATH", "XDG_CACHE_HOME", "ORT_DYLIB_PATH")

# A shell stands between, as in tests/servers: it kills the server once this process closes the pipe or dies.
SUPERVISOR = """
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ cat <&3; kill -s KILL $server; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait $server
kill $watcher
"""


def program() -> Path:
    """The binary under test, which `cargo xtask clients` names."""
    named = os.environ.get("MODELWRIGHT_PROGRAM")
    file = Path(named) if named else Path(__file__).parents[2] / "target/debug/modelwright"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: run `cargo xtask clients`, or name it in MODELWRIGHT_PROGRAM")
    return file.resolve()


class ServerEnded(Exception):
    """The server ended although models were ready or still loading."""


class Server:
    """A running server with these models; `with` starts and ends it.

    `models` maps names to the bytes of ONNX files. `specs` adds to a model's `spec`, in YAML's flow style.
    A model that cannot be loaded does not keep the others from being served: `failed` has its reason.
    """

    def __init__(self, models: dict[str, bytes], specs: dict[str, str] | None = None):
        self.models = models
        self.specs = specs or {}
        self.address = ""
        self.admin = ""
        self.ready: set[str] = set()
        self.failed: dict[str, str] = {}

    def __enter__(self) -> "Server":
        self._folder = tempfile.TemporaryDirectory(prefix="modelwright-clients-")
        try:
            self._start(Path(self._folder.name))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if hasattr(self, "_process"):
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
        self._folder.cleanup()

    def _start(self, folder: Path) -> None:
        documents = [self._document(folder, name) for name in self.models]
        manifest = folder / "models.yaml"
        manifest.write_text("---\n".join(documents))
        command = [program(), "run", manifest, "--data-dir", folder / "data"]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        self._process = subprocess.Popen(
            ["sh", "-c", SUPERVISOR, "supervisor", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
        )
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=forward, args=(self._process.stdout, lines), daemon=True).start()
        self._wait(lines)

    def _document(self, folder: Path, name: str) -> str:
        file = folder / f"{name}.onnx"
        file.write_bytes(self.models[name])
        spec = f"source: {{uri: 'file:{file}'}}"
        if more := self.specs.get(name):
            spec += f", {more}"
        return (
            "apiVersion: modelwright.dev/v1alpha1\nkind: Model\n"
            f"metadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )

    def _wait(self, lines: queue.Queue) -> None:
        """Until each model is ready or has failed."""
        said = []
        while len(self.ready) + len(self.failed) < len(self.models):
            try:
                line = lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise TimeoutError("the server said nothing new:\n" + "\n".join(said)) from None
            if line is None:
                # With every model failed the server ends, which is no error here.
                if len(self.failed) == len(self.models):
                    return
                raise ServerEnded("the server ended:\n" + "\n".join(said))
            said.append(line)
            kind, _, rest = line.partition(" ")
            if kind == "admin":
                self.admin = rest
            elif kind == "ready":
                name, _, url = rest.partition(" ")
                self.ready.add(name)
                self.address = url.removeprefix("http://").partition("/")[0]
            elif kind == "failed":
                name, _, reason = rest.partition(": ")
                self.failed[name] = reason


def forward(stream, lines: queue.Queue) -> None:
    """Lines of the server to whoever waits for them, so that it never waits to write one."""
    try:
        for line in stream:
            lines.put(line.rstrip("\n"))
    except ValueError:  # closed while it was read: the test is over
        pass
    lines.put(None)
