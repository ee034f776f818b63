#!/usr/bin/env python3
"""Turns a picture into a request for the text direction classifier.

    request.py [--upside-down] [PICTURE.pgm]

The picture is a binary PGM (P5) file of 192×48 grey pixels. The model takes three equal channels of 48 rows and 192 columns,
with 0 (black) as -1 and 255 (white) as 1, as its makers prepare pictures. Needs nothing but Python 3.
"""

import argparse
import json
import pathlib
import re

WIDTH, HEIGHT = 192, 48


def read_pgm(path):
    content = path.read_bytes()
    header = re.match(rb"P5\s+(?:#[^\n]*\s+)*(\d+)\s+(\d+)\s+255\s", content)
    if not header:
        raise SystemExit(f"{path} is no binary PGM file with 255 grey levels")
    if (int(header[1]), int(header[2])) != (WIDTH, HEIGHT):
        raise SystemExit(f"{path} has {int(header[1])}×{int(header[2])} pixels: make it {WIDTH}×{HEIGHT}")
    return content[header.end() :][: WIDTH * HEIGHT]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upside-down", action="store_true", help="turn the picture by 180 degrees first")
    parser.add_argument("picture", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parent / "text.pgm")
    arguments = parser.parse_args()
    pixels = read_pgm(arguments.picture)
    if arguments.upside_down:
        pixels = pixels[::-1]
    channel = [round(pixel / 127.5 - 1, 3) for pixel in pixels]
    tensor = {"name": "x", "shape": [1, 3, HEIGHT, WIDTH], "datatype": "FP32", "data": channel * 3}
    print(json.dumps({"inputs": [tensor]}, separators=(",", ":")))


if __name__ == "__main__":
    main()
