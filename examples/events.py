"""Follow a generation as it happens, and stop early if need be: examples/events.py PICTURE."""

import sys

import framepack


def main() -> None:
    events = framepack.stream(image=sys.argv[1], prompt="pan up", seed=7, output="up.mp4")
    for event in events:
        match event:
            case framepack.Planned():
                print(f"{len(event.plan['sections'])} sections")
            case framepack.StepDone():
                print(f"section {event.section}: step {event.step}/{event.num_steps}")
            case framepack.SectionDone():
                print(f"section {event.section} took {event.seconds:.1f} s")
            case framepack.Finished():
                print(f"{event.path}: {event.num_frames} frames, {event.duration_s:.2f} s")
    # events.close() would cancel within one step and leave a run that can be resumed.


if __name__ == "__main__":
    main()
