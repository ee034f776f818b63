#!/usr/bin/env python3
"""Asks the file-type model what kind of file something is.

    request.py FILE                print the request
    request.py --url URL FILE...   send it to URL, the model's address, and print the three likeliest types

The model takes 1,024 bytes from each end of the file, without white space at the very ends, from at most 4,096 bytes there;
what is missing is filled with 256. Needs nothing but Python 3.
"""

import argparse
import json
import pathlib
import urllib.request

END = 1024
BLOCK = 4096
PADDING = 256


def features(path):
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(BLOCK).lstrip()[:END]
        file.seek(max(0, size - BLOCK))
        last = file.read(BLOCK).rstrip()[-END:]
    return list(first) + [PADDING] * (END - len(first)) + [PADDING] * (END - len(last)) + list(last)


def request(path):
    tensor = {"name": "bytes", "shape": [1, 2 * END], "datatype": "INT32", "data": features(path)}
    return json.dumps({"inputs": [tensor]})


def ask(url, path):
    body = request(path).encode()
    with urllib.request.urlopen(f"{url}/infer", body) as answer:
        return json.load(answer)["outputs"][0]["data"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="for instance http://127.0.0.1:8080/v2/models/file-type")
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args()
    labels = (pathlib.Path(__file__).parent / "labels.txt").read_text().split()
    for path in arguments.files:
        if not arguments.url:
            print(request(path))
            continue
        scores = sorted(zip(ask(arguments.url, path), labels), reverse=True)[:3]
        print(f"{path}: " + ", ".join(f"{label} {score:.3f}" for score, label in scores))


if __name__ == "__main__":
    main()
