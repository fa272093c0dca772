"""Write what a stopped run has so far, in a process of its own: ``RUN_DIR OUTPUT``.

Prints one JSON object: ``{"num_frames": 49}``, ``{"busy": true}`` while another process still works
in the run, or ``{"error": "..."}``.
"""

import json
import sys

from framepack.domain.errors import FramePackError, RunInUse


def main(arguments: list[str]) -> int:
    """Write the video and say how many frames it has."""
    run_dir, output = arguments
    from framepack.api import save_partial

    said: dict[str, object]
    try:
        said = {"num_frames": save_partial(run_dir, output)}
    except RunInUse:
        said = {"busy": True}
    except FramePackError as error:
        said = {"error": str(error)}
    sys.stdout.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
