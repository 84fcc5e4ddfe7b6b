"""Partitions side by side on the workers of a Dask cluster; the numbers are those of one process.

with stvd.cluster.connected("local:2") as cluster:
    for partition, outcome in cluster.each(work, partitions):  # work calls stvd.cluster.produce
        ...
"""

from stvd.cluster.asking import Cluster, Stopped, connected, produce
from stvd.cluster.config import ClusterConfig

__all__ = ["Cluster", "ClusterConfig", "Stopped", "connected", "produce"]
