#!/usr/bin/env python3
"""Writes data.csv from the copy of the data set that ships with scikit-learn.

Run it after `pip install scikit-learn==1.9.1`.
"""

import csv
import pathlib

from sklearn.datasets import load_digits

HERE = pathlib.Path(__file__).parent


def main():
    data = load_digits()
    # p03 is the fourth pixel of the first line.
    columns = [f"p{line}{column}" for line in range(8) for column in range(8)]
    with open(HERE / "data.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "digit"])
        for row, target in zip(data.data.astype(int).tolist(), data.target.tolist()):
            writer.writerow([*row, target])


if __name__ == "__main__":
    main()
