"""Send a server all that its own description allows, and what it does not, and count the answers.

    PYTHONPATH=src:. python benchmarks/service_fuzz.py FOLDER [--requests 20000] [--seed 1]
                                                       [--report FILE.json]

The server runs in this process, on a socket; a stand-in makes its videos at once, so that requests
meet jobs in every state. Every route is asked in turn, with requests that fit its description and
with ones that break it, for videos that are there and for others. No answer may be a 5xx, every
error must be an object of the documented shape, and every other answer must be as described.
"""

import argparse
import json
import time
from pathlib import Path

from tests.helpers.fuzz import fuzz, stocked
from tests.helpers.live_server import a_video, serving
from tests.helpers.service import FakeExecutor, new_service


def main() -> int:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    executor = FakeExecutor(video=a_video(asked.folder / "ready.mp4"))
    service = new_service(asked.folder, executor, requests_per_minute=1e9, max_waiting=10**6)
    began = time.monotonic()
    with serving(service) as address:
        found = fuzz(
            address,
            num_requests=asked.requests,
            seed=asked.seed,
            ids=stocked(service),
        )
        jobs = service.store.counts()
    values = {
        "num_requests": found.num_requests,
        "statuses": dict(sorted(found.statuses.items())),
        "failures": found.failures,
        "deviations": dict(found.deviations),
        "num_failures": len(found.failures),
        "num_deviations": sum(found.deviations.values()),
        "jobs_by_state": jobs,
        "seconds": round(time.monotonic() - began),
    }
    text = json.dumps(values, indent=2)
    print(text)
    if asked.report is not None:
        asked.report.write_text(text + "\n", encoding="utf-8")
    return int(bool(found.failures or found.deviations))


if __name__ == "__main__":
    raise SystemExit(main())
