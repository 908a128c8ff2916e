"""Make a model of random weights. Arguments: the name of its shape, a device, a folder."""

import json
import sys
from pathlib import Path

from benchmarks.checkpoints import SHAPES, SMALL, TINY, write_checkpoint


def main() -> None:
    name, device, folder = sys.argv[1:]
    shapes = {shape.name: shape for shape in (TINY, SMALL, *SHAPES["cuda"], *SHAPES["cpu"])}
    write_checkpoint(shapes[name], device, Path(folder))
    print(json.dumps({"size_bytes": shapes[name].size_bytes}), flush=True)


if __name__ == "__main__":
    main()
