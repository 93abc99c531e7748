"""Write clips-steering.csv, the list of the benchmark driving-regression: clips.csv with each clip's mean steering."""

import csv
import sys
from collections import defaultdict
from pathlib import Path


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def steering_of_frames(rows: list[dict[str, str]]) -> dict[str, dict[int, float]]:
    """Return the steering of every frame, by run."""
    steering: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        steering[row["run"]][int(row["frame"])] = float(row["steering"])
    return steering


def main(folder: Path) -> Path:
    """Write the list beside clips.csv and return it; a clip of run_00.mp4 takes its frames from run_00.

    Raises KeyError for a frame that frames.csv does not have: a mean over the others would be another number.
    """
    steering = steering_of_frames(read(folder / "frames.csv"))
    clips = read(folder / "clips.csv")
    for clip in clips:
        run = steering[Path(clip["video"]).stem]
        frames = range(int(clip["start_frame"]), int(clip["end_frame"]))
        clip["steering"] = f"{sum(run[frame] for frame in frames) / len(frames):.6f}"
    written = folder / "clips-steering.csv"
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(clips[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(clips)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python evals/driving_steering.py DRIVING, the folder of clips.csv and frames.csv")
    print(f"{main(Path(sys.argv[1]))} written")
