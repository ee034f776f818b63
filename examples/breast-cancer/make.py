#!/usr/bin/env python3
"""Writes data.csv from the copy of the data set that ships with scikit-learn.

Run it after `pip install scikit-learn==1.9.1`.
"""

import csv
import pathlib

from sklearn.datasets import load_breast_cancer

HERE = pathlib.Path(__file__).parent


def main():
    data = load_breast_cancer()
    columns = [name.replace(" ", "_") for name in data.feature_names]
    with open(HERE / "data.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "diagnosis"])
        for row, target in zip(data.data.tolist(), data.target):
            # 1001 and not 1001.0, as in the original.
            numbers = [int(value) if value.is_integer() else value for value in row]
            writer.writerow([*numbers, data.target_names[target]])


if __name__ == "__main__":
    main()
