"""Whether the next partition of a run may begin: not after a cancellation, nor before its betters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run

from tasks.retry import patiently

Asker = Literal["nightly", "backfill"]
"""Who asks for partitions, the first before the second; also the tag of their flow runs."""

POLL_SECONDS = 5.0
HONOURED = timedelta(days=1)
"""Age at which the flow run of a nightly partition counts as lost."""
ACTIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


class Gate:
    """Lets partitions begin, one after another; made by `gate`."""

    def __init__(self, client: SyncPrefectClient, asker: Asker) -> None:
        self.client = client
        self.asker = asker

    def opens(self, *, wait: bool = True) -> bool:
        """Whether the next partition may begin.

        One of a backfill waits while a nightly run has partitions that run or are due; without
        `wait`, False says so at once.
        """
        while not self.cancelled():
            if self.asker == "nightly" or not self._nightly_is_on():
                return True
            if not wait:
                return False
            time.sleep(POLL_SECONDS)
        return False

    def cancelled(self) -> bool:
        """Whether somebody cancelled the flow run that we are in."""
        if not flow_run.id:
            return False
        state = self.client.read_flow_run(UUID(flow_run.id)).state
        return state is not None and (state.is_cancelling() or state.is_cancelled())

    def _nightly_is_on(self) -> bool:
        now = datetime.now(UTC)
        filter_ = FlowRunFilter(
            tags=FlowRunFilterTags(all_=["nightly"]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE)),
            expected_start_time=FlowRunFilterExpectedStartTime(after_=now - HONOURED, before_=now),
        )
        return bool(self.client.read_flow_runs(flow_run_filter=filter_, limit=1))


@contextmanager
def gate(asker: Asker) -> Iterator[Gate]:
    """The gate for the partitions of a run."""
    with get_client(sync_client=True) as client:
        patiently(client.hello)  # from now on the client waits by itself for a server that is gone
        yield Gate(client, asker)
