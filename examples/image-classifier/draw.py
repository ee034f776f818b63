#!/usr/bin/env python3
"""Draws text.pgm, the sample picture: a line of dark text on white, 192×48 pixels. Needs Pillow 10.1 or newer."""

import pathlib

from PIL import Image, ImageDraw, ImageFont

picture = Image.new("L", (192, 48), 255)
draw = ImageDraw.Draw(picture)
draw.text((8, 6), "Hello, model", fill=0, font=ImageFont.load_default(size=29))
picture.save(pathlib.Path(__file__).parent / "text.pgm")
