#!/usr/bin/env python3
"""Copies penguins.csv out of the Python package palmerpenguins, byte for byte but for the ends of lines.

Run it after `pip download palmerpenguins==0.1.6 --no-deps` in this folder; nothing has to be installed.
"""

import pathlib
import zipfile

HERE = pathlib.Path(__file__).parent


def main():
    with zipfile.ZipFile(HERE / "palmerpenguins-0.1.6-py3-none-any.whl") as wheel:
        text = wheel.read("palmerpenguins/data/penguins.csv").decode()
    (HERE / "data.csv").write_bytes(text.replace("\r\n", "\n").encode())


if __name__ == "__main__":
    main()
