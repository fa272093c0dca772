"""Have a server make a video, by the routes and flags that SD.Next's clients know.

    python examples/create_video.py --init photo.jpg --prompt "the camera pans left"

SDAPI_URL is the server's address, http://127.0.0.1:7860 unless set; SDAPI_USR and SDAPI_PWD are
user and password where it wants them (for FramePack: any name, and the API key). It works with
`framepack serve` and with SD.Next alike. Needs httpx2 and nothing else.
"""

import argparse
import base64
import os
import sys
import threading
from pathlib import Path
from typing import Any

import httpx2


def main() -> int:
    """Send the request, show how far it is, fetch what was made."""
    options = _options()
    usr, pwd = os.environ.get("SDAPI_USR"), os.environ.get("SDAPI_PWD")
    with httpx2.Client(
        base_url=os.environ.get("SDAPI_URL", "http://127.0.0.1:7860"),
        auth=(usr, pwd) if usr and pwd else None,
        timeout=httpx2.Timeout(30, read=None),  # the answer comes when the video is there
    ) as http:
        try:
            return _create(http, options)
        except httpx2.HTTPStatusError as error:
            answer = error.response
            print(f"Error: {answer.status_code} {answer.text[:500]}", file=sys.stderr)
        except httpx2.TransportError as error:
            print(f"Error: {http.base_url}: {error}", file=sys.stderr)
    return 1


def _create(http: httpx2.Client, options: argparse.Namespace) -> int:
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(http, done), daemon=True)
    watcher.start()
    try:
        made = http.post("/sdapi/v1/framepack", json=_request(options))
    finally:
        done.set()
        watcher.join()
    made.raise_for_status()
    print(f"\n{made.json()['message']}", file=sys.stderr)
    # The reply's own id is not in SD.Next's history; that of the progress is.
    job = http.get("/sdapi/v1/progress").raise_for_status().json()["id"]
    events = http.get("/sdapi/v1/history", params={"id": job}).raise_for_status().json()
    outputs = events[-1]["outputs"] if events else []
    for number, name in enumerate(outputs):
        suffix = Path(name).suffix
        target = options.output or Path(f"{job}{f'-{number}' if number else ''}{suffix}")
        if number:
            target = target.with_name(f"{target.stem}-{number}{suffix}")
        _fetch(http, name, target)
        print(target)
    return 0 if outputs else 1


def _fetch(http: httpx2.Client, name: str, target: Path) -> None:
    with http.stream("GET", f"/file={name}") as answer, target.open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            file.write(chunk)


def _watch(http: httpx2.Client, done: threading.Event) -> None:
    """Say how far it is, until it is done."""
    while not done.wait(1.0):
        try:
            now = http.get("/sdapi/v1/progress", params={"skip_current_image": True}).json()
            left = now.get("eta_relative") or 0
            text = f"{now['progress']:.0%}, {left:.0f} s left {now.get('textinfo') or ''}"
        except (httpx2.HTTPError, ValueError, KeyError):
            continue  # the request itself will say what is wrong
        print(f"\r{text:<70.70}", end="", file=sys.stderr, flush=True)


def _request(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "init_image": _base64(options.init),
        "end_image": _base64(options.end),
        "prompt": options.prompt,
        "section_prompt": options.sections,
        "resolution": options.resolution,
        "duration": options.duration,
        "mp4_fps": options.fps,
        "seed": options.seed,
        "vlm_enhance": options.enhance,
        "use_teacache": options.teacache,
        "steps": options.steps,
        "cfg_scale": options.scale,
        "cfg_rescale": options.rescale,
        "cfg_distilled": options.distilled,
        "shift": options.shift,
        "variant": options.variant,
    }


def _base64(path: Path | None) -> str | None:
    return None if path is None else base64.b64encode(path.read_bytes()).decode()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--init", type=_picture, help="start picture")
    parser.add_argument("--end", type=_picture, help="end picture")
    parser.add_argument("--prompt", default="", help="what happens")
    parser.add_argument("--sections", help="prompts of sections, one on a line")
    parser.add_argument("--resolution", type=int, default=640, help="about this side length, px")
    parser.add_argument("--duration", type=float, default=4, help="seconds")
    parser.add_argument("--fps", type=int, default=30, help="frames per second")
    parser.add_argument("--seed", type=int, default=-1, help="-1 for a random one")
    parser.add_argument("--enhance", action="store_true", help="expand the prompt first")
    parser.add_argument("--teacache", action="store_true", help="skip steps that change little")
    parser.add_argument("--steps", type=int, default=25, help="denoising steps of a section")
    parser.add_argument("--scale", type=float, default=1.0, help="true guidance")
    parser.add_argument("--rescale", type=float, default=0.0, help="guidance rescale")
    parser.add_argument("--distilled", type=float, default=10.0, help="distilled guidance")
    parser.add_argument("--shift", type=float, default=3.0, help="shift of the schedule, 0 by size")
    parser.add_argument(
        "--variant", choices=("bi-directional", "forward-only"), default="bi-directional"
    )
    parser.add_argument("--output", type=Path, help="file to write; default: the job's id")
    return parser.parse_args()


def _picture(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no picture {text}")
    return path


if __name__ == "__main__":
    sys.exit(main())
