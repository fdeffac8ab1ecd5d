"""The processes of ``streamkit serve``: gunicorn's master, as a program of ours, and its logger.

The master imports what workers need, and then forks. It makes nothing that has a thread, a connection or a file: each
worker makes its own ``Gateway`` after the fork. Measured with three workers at rest, as proportional set size of all
processes: 110 MB so; 121 MB where each worker imports for itself; 134 MB where the garbage collector is not kept from
writing into the pages that they share.
"""

from __future__ import annotations

import gc
import mmap
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.sock import TCP6Socket, TCPSocket

from streamkit.cli.failures import tell
from streamkit.cli.processors import choose_processor
from streamkit.cli.serve_worker import SPARE_THREADS, ServeWorker
from streamkit.concurrency.late_import import late_import
from streamkit.errors import StreamkitError
from streamkit.gateway.config import Config, ConfigProblems
from streamkit.gateway.config.storage import file_of

__all__ = ["run"]

_SILENT = 4000  # connections of a process that send nothing, beside those that are served
_KEEPALIVE = 75  # seconds; longer than nginx keeps its connections (60), so that it never writes into a closed one
_TIMEOUT = 60  # seconds without a sign of life of a process, not of a reply
_SETTLE_SECONDS = 10.0  # for a worker to cancel, settle and hang up, after the time that replies have
_QUICK_SECONDS = 5.0  # for the same after Ctrl-C
_RETRY_SECONDS = 1.0  # between two tries to start a worker, where others serve
_DESCRIPTORS = 4  # of a stream, counted generously: the client's socket, the provider's, two of the library
# What the running processes keep; a new value takes effect after a restart.
_FIXED = ("host", "port", "workers", "streams", "threads", "one_processor", "grace", "database", "secret")

_FIGURES = "PROMETHEUS_MULTIPROC_DIR"  # as its library has it
_START, _FAILED = "Worker failed to boot.", 3


def run(
    config: Config,
    listener: socket.socket,
    read_again: Callable[[], Config],
    ready: Callable[[Any], None],
) -> int:
    """Serve until SIGTERM or Ctrl-C, and return the exit code.

    Args:
        config: the configuration.
        listener: a socket that listens; it is closed.
        read_again: reads the configuration anew, for SIGHUP; raises ConfigProblems.
        ready: is called with the gateway in the first worker, once it can be asked.

    Threads: that of the program; a fork must be safe, so there is no other.
    """
    figures = _share_figures(config)
    late_import("streamkit.gateway.app.application")  # before the fork: see the module
    late_import("prometheus_client")
    _raise_descriptors(config)
    master_pid = os.getpid()
    app = _Application(config, read_again, ready)
    try:
        _Master(app, listener).run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        if os.getpid() != master_pid:
            # A worker: what is above in this stack is the master's, and atexit functions would wait for threads.
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(code)
        return 1 if code else 0
    finally:
        if figures is not None and os.getpid() == master_pid:
            shutil.rmtree(figures, ignore_errors=True)
    return 0


def _share_figures(config: Config) -> str | None:
    """Let several workers share their figures for Prometheus, by files of a folder; return it, ``None`` for none."""
    if config.workers == 1 or os.environ.get(_FIGURES):
        return None
    folder = tempfile.mkdtemp(prefix="streamkit-figures-", dir=_place_for_signs(config))
    os.environ[_FIGURES] = folder
    return folder


def _raise_descriptors(config: Config) -> None:
    """Allow this process and its children the descriptors that they may need; the usual limit is 1024."""
    wanted = config.threads * _DESCRIPTORS + _SILENT + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < config.threads * 2 + 64:
        tell(
            f"this system allows a process {most} open files, too few for {config.threads} streams at once: "
            "raise its limit (ulimit -n, LimitNOFILE= of systemd)"
        )


def _place_for_signs(config: Config) -> str:
    """Return a folder for the files by which workers show that they live; they are deleted as soon as they are open."""
    database = file_of(config.database)
    places = ["/dev/shm", *_temporary(), *([str(database.parent)] if database else [])]  # noqa: S108
    return next((place for place in places if os.path.isdir(place) and os.access(place, os.W_OK)), ".")


def _temporary() -> list[str]:
    try:
        return [tempfile.gettempdir()]
    except OSError:  # none can be written
        return []


class _Log(Logger):  # type: ignore[misc]
    """Errors alone, a line each, without tracebacks and without anything of a request: addresses may have secrets."""

    silent = False

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()

    def critical(self, msg: str, *args: Any, **kwargs: Any) -> None:
        self.error(msg, *args)

    def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        if not self.silent and not (msg.startswith("Worker (pid:%s) exited") and args[1:] == (_FAILED,)):
            tell(msg % args if args else msg)

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        error = sys.exc_info()[1]
        if error is None or isinstance(error, OSError):  # of a client's socket
            return
        tell(f"{msg.partition('%')[0].rstrip()}: {_shown(error)}")

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        pass

    info = debug = warning

    def log(self, lvl: Any, msg: str, *args: Any, **kwargs: Any) -> None:
        pass

    def access(self, *arguments: Any) -> None:
        pass

    def reopen_files(self) -> None:
        pass


class _Application(BaseApplication):  # type: ignore[misc]
    """What gunicorn is given: its settings, and the gateway of each worker."""

    def __init__(self, config: Config, read_again: Callable[[], Config], ready: Callable[[Any], None]) -> None:
        self.config = config
        self.read_again = read_again
        self._ready = ready
        self._served = mmap.mmap(-1, 1)  # shared by all processes: whether a worker has ever started
        super().__init__()

    def load_config(self) -> None:
        config = self.config
        threads = config.threads + SPARE_THREADS
        settings = {
            "worker_class": ServeWorker,
            "workers": config.workers,
            "threads": threads,
            "worker_connections": threads + _SILENT,
            "keepalive": _KEEPALIVE,
            "timeout": _TIMEOUT,
            "graceful_timeout": int(config.grace + _SETTLE_SECONDS) + 1,
            "worker_tmp_dir": _place_for_signs(config),
            "logger_class": _Log,
            "loglevel": "error",
            "proc_name": "streamkit serve",
            "control_socket_disable": True,
            "forwarder_headers": "",  # gunicorn's own two let a client change the path behind a proxy's back
            "pre_fork": _prepare,
            "post_worker_init": self._started,
            "child_exit": _forget,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the gateway of this process, and end the process where it cannot be made."""
        try:
            return late_import("streamkit.gateway.app.application").Gateway(self.config)
        except Exception as error:
            _tell_start(error)
        if not self._served[0]:
            sys.exit(_FAILED)  # the master gives up
        time.sleep(_RETRY_SECONDS)
        sys.exit(1)  # the master tries again: others serve, or a database will be back

    def _started(self, worker: Any) -> None:
        if worker.age == 1:
            try:
                self._ready(worker.wsgi)
            except Exception as error:
                _tell_start(error)
                sys.exit(_FAILED)
        self._served[0] = 1


def _tell_start(error: BaseException) -> None:
    """Write why the gateway cannot start."""
    tell(error.message if isinstance(error, StreamkitError) else f"the gateway cannot start: {_shown(error)}")


def _shown(error: BaseException) -> str:
    """Return the class of an error and where it was raised, without its text, which may quote anything."""
    place, frames = "", error.__traceback__
    while frames is not None:
        place, frames = f" in {Path(frames.tb_frame.f_code.co_filename).name}, line {frames.tb_lineno}", frames.tb_next
    return f"{type(error).__name__}{place}"


def _prepare(master: Any, worker: Any) -> None:
    """Prepare a fork: the collector is not to write into the pages that all processes share."""
    gc.collect()
    gc.freeze()
    if worker.config.one_processor:
        others = [each.processor for each in master.WORKERS.values()]
        worker.processor = choose_processor([each for each in others if each is not None])


def _forget(master: Any, worker: Any) -> None:
    worker.channel.close()
    if os.environ.get(_FIGURES):
        late_import("prometheus_client.multiprocess").mark_process_dead(worker.pid)


class _Master(Arbiter):  # type: ignore[misc]
    """Starts and ends workers, and hands them a new configuration without ending any."""

    def __init__(self, app: _Application, listener: socket.socket) -> None:
        super().__init__(app)
        kind = TCP6Socket if listener.family == socket.AF_INET6 else TCPSocket
        # Given, so that gunicorn makes none: it would try a port that is in use for five seconds.
        self.LISTENERS = [kind(listener.getsockname(), self.cfg, self.log, fd=listener.detach())]
        self._terminal = next((stream.fileno() for stream in (sys.stdin, sys.stderr) if _is_terminal(stream)), None)

    def spawn_worker(self) -> Any:
        """Fork a worker.

        Until it has its own handlers it has the master's, in which a SIGTERM would be lost, and the end of all would
        wait for it in vain. So signals are held back until then.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
        try:
            pid = super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.WORKERS[pid].channel.keep_masters()
        return pid

    def handle_hup(self) -> None:
        """Read the configuration again, and tell the workers if it is right."""
        if self._terminal is not None and _is_gone(self._terminal):
            raise StopIteration  # as after SIGTERM: nobody could end it by Ctrl-C any more
        before = self.app.config
        if before.file is None:
            tell("there is no configuration to read again")
            return
        try:
            config = self.app.read_again()
        except ConfigProblems as error:
            for line in error.message.splitlines():
                tell(line)
            tell(f"{before.file} is not used; the configuration from before goes on")
            return
        except StreamkitError as error:
            tell(f"{error.message}; the configuration from before goes on")
            return
        later = [name for name in _FIXED if getattr(config, name) != getattr(before, name)]
        if later:
            tell(f"a new value of {', '.join(later)} takes effect after a restart")
        self.app.config = attrs.evolve(config, **{name: getattr(before, name) for name in _FIXED})
        for pid, worker in list(self.WORKERS.items()):
            try:
                worker.channel.send(self.app.config)
            except OSError:
                tell(f"process {pid} does not take the new configuration; it is replaced")
                self.kill_worker(pid, signal.SIGTERM)
        tell(f"{before.file} was read again: {len(config.models)} models")

    def handle_int(self) -> None:
        """End at once."""
        self.cfg.set("graceful_timeout", int(_QUICK_SECONDS))
        super().handle_int()

    handle_quit = handle_int

    def handle_usr2(self) -> None:
        """Do nothing: a second master needs the listening socket, which is not left to it."""

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        """End; the reason was told by the worker that failed."""
        self.log.silent = True
        super().halt(reason, exit_status)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _is_gone(terminal: int) -> bool:
    try:
        os.tcgetpgrp(terminal)
    except OSError:
        return True
    return False
