"""How many threads a call runs on: of the process, or of the calling thread inside `threads(n)`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import local
from typing import SupportsIndex

from convkit import _convkit
from convkit.environment import openmp_threads
from convkit.problem import integer


class _Process:
    """The process's number of threads; 0 until it is set or first asked for."""

    threads = 0


class _CallingThread(local):
    """The number inside `threads(n)`; 0 outside."""

    threads = 0


_process, _calling_thread = _Process(), _CallingThread()
#: Beyond this a request is a mistake, and the system could not start them.
MOST_THREADS = 4096


def default_threads() -> int:
    """What affinity and the control group's quota leave; OMP_NUM_THREADS may lower it."""
    available = _convkit.available_threads()
    return min(available, openmp_threads() or available)


def _forget_default() -> None:
    """A forked worker is often given another affinity or quota."""
    if _process.threads < 0:
        _process.threads = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_default)


def get_num_threads() -> int:
    """Threads that a call made here would use at most.

    Examples
    --------
    >>> import convkit
    >>> with convkit.threads(3):
    ...     convkit.get_num_threads()
    3
    """
    if _calling_thread.threads:
        return _calling_thread.threads
    if not _process.threads:
        _process.threads = -default_threads()  # negative: not asked for
    return abs(_process.threads)


def set_num_threads(n: SupportsIndex) -> None:
    """Use at most n threads a call in this process, where no `threads(n)` says otherwise.

    Raises
    ------
    ValueError, TypeError
        Where n is no integer from 1 to 4096.

    Examples
    --------
    >>> import convkit
    >>> before = convkit.get_num_threads()
    >>> convkit.set_num_threads(2)
    >>> convkit.get_num_threads()
    2
    >>> convkit.set_num_threads(before)
    """
    _process.threads = _thread_count(n)


def threads(n: SupportsIndex) -> AbstractContextManager[None]:
    """Use at most n threads for the calls that this thread makes inside the block.

    Raises
    ------
    ValueError, TypeError
        Where n is no integer from 1 to 4096.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> with convkit.threads(1):
    ...     y = convkit.conv2d(np.ones((4, 4), np.float32), np.ones((3, 3), np.float32))
    """
    return _threads(_thread_count(n))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = _calling_thread.threads
    _calling_thread.threads = count
    try:
        yield
    finally:
        _calling_thread.threads = before


def _thread_count(n: SupportsIndex) -> int:
    count = integer("n", n, least=1)
    if count > MOST_THREADS:
        raise ValueError(f"n={count} must be at most {MOST_THREADS} threads")
    return count
