"""Make a video from a picture and a sentence: python examples/generate.py PICTURE [PROMPT]."""

import sys

import framepack


def main() -> None:
    picture = sys.argv[1]
    prompt = sys.argv[2] if len(sys.argv) > 2 else "the camera pans left"
    result = framepack.generate(
        image=picture,
        prompt=prompt,
        duration_s=2,
        seed=7,
        output="out.mp4",
    )
    print(f"{result.path}: {result.plan.num_frames} frames")
    print(f"{result.statistics['total_s']:.1f} s, {result.statistics['frame_s']:.3f} s per frame")


if __name__ == "__main__":
    main()
