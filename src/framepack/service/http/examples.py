"""Examples of requests and answers, as the documentation of the API shows them."""

from typing import Any

from pydantic import BaseModel

__all__ = [
    "CODECS",
    "CREATE",
    "EDIT",
    "ENHANCE",
    "ENHANCED",
    "EXTENSION",
    "LICENCE",
    "LORAS",
    "MADE_PLAN",
    "MODEL",
    "MODELS",
    "MOVE",
    "NEW_TASK",
    "PLAN",
    "PLANNED",
    "PREFERENCES",
    "QUEUE",
    "RECIPE",
    "RECIPES",
    "REMIX",
    "SCHEMA",
    "SESSION",
    "SETTINGS",
    "STYLES",
    "SYSTEM",
    "TASK",
    "TASKS",
    "TOOLS",
    "UPLOAD",
    "UPLOADS",
    "VIDEO",
    "VIDEOS",
    "WORKER",
    "answer",
    "gone",
    "named",
]

_SQUARE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGklEQVR42mM8YaPBQApgYiARjGoY1TB0"
    "NAAAyUUBTEzmkP4AAAAASUVORK5CYII="
)

CREATE: dict[str, Any] = {
    "text": {"prompt": "a red ball rolls to the right", "seconds": "2"},
    "picture": {
        "prompt": "the camera pans left",
        "input_reference": {"image_url": _SQUARE},
        "model": "tiny",
        "size": "128x128",
        "seconds": "2",
        "seed": 7,
    },
    "sections": {
        "prompt": "a dog in the park",
        "model": "tiny",
        "duration_s": 3,
        "section_prompts": {"0": "it sits", "1": "it jumps"},
        "num_inference_steps": 4,
    },
}
PLAN: dict[str, Any] = {"ten_seconds": {"prompt": "a dog in the park", "seconds": 10}}
REMIX: dict[str, Any] = {"prompt": {"prompt": "a blue ball rolls to the left"}}
EXTENSION: dict[str, Any] = {
    "of_a_job": {
        "video": {"id": "video_0123456789abcdef01234567"},
        "prompt": "the ball comes back",
        "seconds": "2",
    }
}
EDIT: dict[str, Any] = {
    "of_a_job": {
        "video": {"id": "video_0123456789abcdef01234567"},
        "prompt": "the same in snow",
        "video_strength": 0.6,
    }
}
MOVE: dict[str, Any] = {"to_the_front": {"priority": 10}}

VIDEO: dict[str, Any] = {
    "id": "video_0123456789abcdef01234567",
    "object": "video",
    "created_at": 1795000000,
    "completed_at": None,
    "expires_at": None,
    "status": "in_progress",
    "model": "tiny",
    "prompt": "a red ball rolls to the right",
    "progress": 40,
    "seconds": "2",
    "size": "128x128",
    "remixed_from_video_id": None,
    "error": None,
    "state": "running",
    "progress_detail": {
        "fraction": 0.4,
        "stage": "denoise",
        "section": 0,
        "num_sections": 2,
        "step": 8,
        "num_steps": 10,
        "seconds_left": 3.5,
    },
    "started_at": 1795000001.5,
    "priority": 0,
    "attempts": 0,
    "seed": 7,
    "variant": "forward-only",
    "fps": 30.0,
    "num_frames": 60,
    "notes": [],
    "request": {"prompt": "a red ball rolls to the right", "duration_s": 2.0, "seed": 7},
    "options": {"container": "mp4", "thumbnail": True},
    "group": "",
    "label": "",
    "output": {},
}


VIDEOS: dict[str, Any] = {
    "object": "list",
    "data": [VIDEO],
    "first_id": VIDEO["id"],
    "last_id": VIDEO["id"],
    "has_more": False,
}
PLANNED: dict[str, Any] = {
    "object": "video.plan",
    "model": "tiny",
    "variant": "forward-only",
    "size": "128x128",
    "seconds": "2",
    "fps": 30.0,
    "num_frames": 60,
    "num_sections": 2,
    "seed": 7,
    "notes": [],
    "estimate": {
        "seconds": 12.5,
        "device_memory_gb": None,
        "host_memory_gb": 0.9,
        "basis": "measured on 5 videos of this machine",
    },
    "plan": {"plan_version": 1, "sections": [{"index": 0}, {"index": 1}]},
}
MADE_PLAN: dict[str, Any] = {"object": "video.plan", "plan": PLANNED["plan"]}
MODEL: dict[str, Any] = {
    "id": "tiny",
    "object": "model",
    "created": 0,
    "owned_by": "framepack",
    "title": "embedded tiny model, runs on any CPU, no download",
    "base": "tiny",
    "recipe": False,
    "variants": ["bi-directional", "forward-only"],
    "weights_present": True,
    "size_gb": 0.0141,
    "licence": None,
    "licence_url": None,
    "licence_accepted": True,
    "download": None,
    "sources": {},
    "min_size": 64,
    "max_size": 192,
    "defaults": {"resolution": 128, "num_inference_steps": 10},
}
MODELS: dict[str, Any] = {"object": "list", "data": [MODEL]}
LORAS: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "felt",
            "object": "lora",
            "filename": "felt.safetensors",
            "bytes": 19200344,
            "title": "Felt",
            "trigger_words": ["made of felt"],
            "base": "hunyuan-video",
        }
    ],
}
STYLES: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "noir",
            "object": "style",
            "prompt": "{prompt}, black and white",
            "negative_prompt": "",
            "values": {"steps": 30},
        }
    ],
}
QUEUE: dict[str, Any] = {
    "object": "queue",
    "paused": False,
    "counts": {"running": 1, "queued": 1, "completed": 12},
    "waiting": ["video_0123456789abcdef01234568"],
}
SCHEMA: dict[str, Any] = {
    "object": "schema",
    "groups": [{"id": "sampling", "title": "Sampling"}],
    "fields": [
        {
            "name": "num_inference_steps",
            "title": "Steps",
            "help": "Denoising steps per section.",
            "unit": "",
            "rule": "a whole number from 1 to 200",
            "option": "--steps",
            "group": "sampling",
            "common": True,
            "kind": "integer",
            "choices": None,
            "min": 1,
            "max": 200,
            "exclusive_min": False,
            "step": 1,
            "default": None,
            "unset": "the model's own",
        }
    ],
    "options": [],
}
SESSION: dict[str, Any] = {
    "object": "session",
    "needs_key": True,
    "signed_in": True,
    "is_admin": False,
    "version": "1.0.0",
}
ENHANCE: dict[str, Any] = {"words": {"prompt": "a dog runs", "how": "template"}}
ENHANCED: dict[str, Any] = {
    "prompt": "a dog runs, with clear and natural movements",
    "how": "template",
}
PREFERENCES: dict[str, Any] = {"theme": "dark", "language": "en"}
CODECS: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "libx264",
            "object": "codec",
            "title": "libx264 H.264 / AVC / MPEG-4 AVC / MPEG-4 part 10",
            "hardware": False,
            "works": True,
            "accepted": True,
        }
    ],
}
WORKER: dict[str, Any] = {
    "object": "worker",
    "alive": True,
    "busy": False,
    "device": "cpu",
    "device_memory_gb": None,
    "host_memory_gb": 0.9,
    "model": "tiny",
    "loading": None,
    "load_error": None,
}
UPLOAD: dict[str, Any] = {
    "id": "upload_0123456789abcdef01234567",
    "object": "upload",
    "filename": "photo.jpg",
    "bytes": 482133,
    "created_at": 1795000000,
    "expires_at": 1795086400,
}
UPLOADS: dict[str, Any] = {"object": "list", "data": [UPLOAD]}
SETTINGS: dict[str, Any] = {
    "object": "settings",
    "file": "/home/me/.config/framepack/settings.toml",
    "groups": [{"id": "device", "title": "Device and memory"}],
    "fields": [
        {
            "name": "device",
            "title": "Device",
            "help": "auto, cpu, mps, cuda, xpu, or one of several such as cuda:1.",
            "unit": "",
            "rule": "",
            "option": "",
            "group": "device",
            "common": False,
            "kind": "text",
            "choices": None,
            "min": None,
            "max": None,
            "exclusive_min": False,
            "step": None,
            "default": "auto",
            "unset": "",
            "value": "cpu",
            "source": "file",
            "variable": None,
            "secret": False,
            "is_set": True,
            "path": False,
            "restart": False,
        }
    ],
}
SYSTEM: dict[str, Any] = {
    "object": "system",
    "checked_at": 1795000000,
    "ok": True,
    "findings": [
        {
            "topic": "accelerator",
            "level": "note",
            "text": "none found",
            "advice": "a graphics card of NVIDIA, AMD or Intel, or Apple silicon, would be used",
        }
    ],
    "machine": {"framepack": "0.1.0", "python": "3.13.1, 64 bit", "memory_gb": 16.6, "cores": 2},
}
LICENCE: dict[str, Any] = {
    "object": "licence",
    "model": "i2v",
    "name": "Tencent Hunyuan Community License Agreement",
    "url": "https://github.com/Tencent-Hunyuan/HunyuanVideo/blob/main/LICENSE.txt",
    "text": "FramePack 13B, bi-directional: Tencent Hunyuan Community License Agreement",
    "facts": ["Output shown in public must be labelled as made by a machine."],
    "accepted": False,
}
RECIPE: dict[str, Any] = {
    "id": "mine",
    "object": "recipe",
    "text": 'base = "tiny"\ntitle = "my fine-tune"\n',
    "title": "my fine-tune",
    "base": "tiny",
    "variants": ["bi-directional", "forward-only"],
    "sources": {"transformer": "./transformer"},
    "weights_present": True,
}
RECIPES: dict[str, Any] = {"object": "list", "data": [RECIPE]}
NEW_TASK: dict[str, Any] = {"video": "video_0123456789abcdef01234567", "speed": 0.5}
TASK: dict[str, Any] = {
    "id": "task_0123456789abcdef01234567",
    "object": "task",
    "tool": "interpolate",
    "title": "Interpolate",
    "state": "completed",
    "progress": 1.0,
    "message": "",
    "created_at": 1795000000,
    "started_at": 1795000001.5,
    "finished_at": 1795000009.5,
    "fields": {"video": "video of video_0123456789abcdef01234567", "speed": 0.5},
    "output": {
        "video": "interpolate.mp4",
        "report": {"width": 128, "height": 128, "fps": 30.0, "num_frames": 120, "duration_s": 4.0},
    },
    "error": None,
}
TASKS: dict[str, Any] = {
    "object": "list",
    "data": [TASK],
    "first_id": TASK["id"],
    "last_id": TASK["id"],
    "has_more": False,
}
TOOLS: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "drift",
            "title": "Drift report",
            "help": "Measure what sharpness, contrast, colour and motion do along a video.",
            "fields": [
                {
                    "name": "video",
                    "title": "Video",
                    "help": "A finished video.",
                    "kind": "file",
                    "many": False,
                    "needed": True,
                    "accepts": "video",
                }
            ],
        }
    ],
}


def answer(model: type[BaseModel], text: str, example: dict[str, Any]) -> dict[int | str, Any]:
    """``responses`` of a route that answers with such an object."""
    content = {"application/json": {"example": example}}
    return {200: {"model": model, "description": text, "content": content}}


def gone(kind: str, name: str) -> dict[str, Any]:
    """What is said of something that was deleted."""
    return {"id": name, "object": f"{kind}.deleted", "deleted": True}


def named(examples: dict[str, Any]) -> dict[str, Any]:
    """Examples as OpenAPI wants them."""
    return {name: {"value": value} for name, value in examples.items()}
