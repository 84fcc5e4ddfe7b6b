"""Which failures are worth another try."""

import errno

import pytest
from icechunk import IcechunkError
from prefect.states import Completed, Failed

from stvd.contract import CatalogError
from stvd.product import FingerprintConflict, StorageRefused, StorageUnavailable
from stvd.quality import QualityError
from tasks.retry import is_transient, worth_retrying


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        OSError(errno.EIO, "input/output error"),
        IcechunkError("503 slow down"),
        StorageUnavailable("no answer"),
    ],
    ids=repr,
)
def test_storage_and_network_come_back(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        QualityError([]),
        FingerprintConflict("other seed"),
        CatalogError("no such variable"),
        ValueError("members 0"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "denied"),
        PermissionError("Forbidden"),
        StorageRefused("no such bucket"),
        OSError(errno.ENOSPC, "no space left on device"),
        MemoryError(),
    ],
    ids=repr,
)
def test_wrong_input_does_not_mend_itself(error: Exception) -> None:
    assert not is_transient(error)


def test_prefect_asks_with_the_failed_state() -> None:
    assert worth_retrying(None, None, Failed(data=ConnectionResetError()))
    assert not worth_retrying(None, None, Failed(data=ValueError("no")))
    assert not worth_retrying(None, None, Completed(data=1))
