#!/usr/bin/env python3
"""Writes data.csv from the copy of the data set that ships with scikit-learn, in its original units.

Run it after `pip install scikit-learn==1.9.1`.
"""

import csv
import pathlib

from sklearn.datasets import load_diabetes

HERE = pathlib.Path(__file__).parent
# s1 to s6 in scikit-learn, named after what its description says of them.
SERUM = {
    "s1": "total_cholesterol",
    "s2": "ldl",
    "s3": "hdl",
    "s4": "cholesterol_hdl_ratio",
    "s5": "log_triglycerides",
    "s6": "glucose",
}


def main():
    data = load_diabetes(scaled=False)
    columns = [SERUM.get(name, name) for name in data.feature_names]
    with open(HERE / "data.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "progression"])
        for row in [[*row, target] for row, target in zip(data.data.tolist(), data.target.tolist())]:
            writer.writerow([int(value) if value.is_integer() else value for value in row])


if __name__ == "__main__":
    main()
