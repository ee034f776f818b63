"""Asks the running server which way up an image of a text line is. Only Python's standard library.

    python3 request.py [IMAGE.pgm] [--turn] [--url URL | --print]

IMAGE is a PGM or PPM file (`P5` or `P6`), sample.pgm unless named; `--turn` turns it upside down first; `--print` prints
the request instead of sending it.
"""

import argparse
import json
import pathlib
import urllib.request

HEIGHT, WIDTH = 48, 192
LABELS = ["upright", "upside down"]


def read(path):
    """Width, height, and rows of (red, green, blue)."""
    content = pathlib.Path(path).read_bytes()
    kind, width, height, most, pixels = content.split(maxsplit=4) if content[:2] == b"P6" else split_grey(content)
    if kind not in (b"P5", b"P6") or int(most) != 255:
        raise SystemExit(f"{path} is not a PGM or PPM file with 8 bits per colour")
    width, height = int(width), int(height)
    step = 3 if kind == b"P6" else 1
    rows = [pixels[row * width * step:(row + 1) * width * step] for row in range(height)]
    colour = (lambda row, x: tuple(row[3 * x:3 * x + 3])) if step == 3 else (lambda row, x: (row[x],) * 3)
    return [[colour(row, x) for x in range(width)] for row in rows]
