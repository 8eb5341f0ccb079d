"""How fast ServeGen files are read: python benchmarks/servegen_parse.py [FOLDER] (default: BLIS_DATA/servegen/data).

Prints megabytes per second, best of seven, for each folder of chunks: the dataset texts alone, parsed to numbers, and
the whole way from a folder of files to sources that are ready to send.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from blis.clients.build import sources
from blis.spec.servegen_data import Dataset, find_chunks
from blis.spec.workload import workload_from_dict

REPEATS = 7


def best_seconds(run: Callable[[], object]) -> float:
    """Return the shortest of several runs."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def parse_rate(folder: Path) -> float:
    """MB/s of the texts of all dataset windows, files already read."""
    datasets = [Dataset(chunk.dataset, print) for chunk in find_chunks(folder, print) if chunk.dataset]
    size = sum(dataset.path.stat().st_size for dataset in datasets)
    return size / 1e6 / best_seconds(lambda: [dataset.read(at) for dataset in datasets for at in dataset.starts])


def load_rate(folder: Path) -> float:
    """MB/s of all files of a folder, from opening them to sources."""
    spec = workload_from_dict({"horizon": "400h", "servegen_data": {"path": str(folder)}})
    size = sum(path.stat().st_size for path in folder.glob("chunk-*"))
    return size / 1e6 / best_seconds(lambda: sources(spec, spec.horizon, lambda _: None))


def main() -> None:
    """Measure every folder that holds chunks."""
    given = (
        sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BLIS_DATA", "") and f"{os.environ['BLIS_DATA']}/servegen"
    )
    if not given:
        sys.exit("name a folder of ServeGen data, or set BLIS_DATA")
    folders = sorted({path.parent for path in Path(given).rglob("chunk-*-trace.csv")})
    if not folders:
        sys.exit(f"{given}: no chunk-N-trace.csv files in it")
    print(f"{'folder':<40} {'parse MB/s':>10} {'load MB/s':>10}")
    for folder in folders:
        print(f"{str(folder)[-40:]:<40} {parse_rate(folder):>10.0f} {load_rate(folder):>10.0f}")


if __name__ == "__main__":
    main()
