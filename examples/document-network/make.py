#!/usr/bin/env python3
"""Writes data.csv: 4,000 made-up documents as counts of 1,000 words.

Needs nothing but Python, and writes the same bytes everywhere: only `random.random()` is used, whose sequence Python promises
for a seed. It takes a few seconds.
"""

import bisect
import hashlib
import itertools
import pathlib
import random

HERE = pathlib.Path(__file__).parent
DOCUMENTS = 4_000
WORDS = 1_000
# Words that one kind of document uses more often than the other.
TYPICAL = 100
KINDS = ["invoice", "letter"]


def cumulated(weights):
    return list(itertools.accumulate(weights))


def draw(chance, sums):
    return bisect.bisect_right(sums, chance.random() * sums[-1])


def main():
    chance = random.Random(7)
    # The word of rank r occurs 1/r as often as the most frequent one (Zipf). Ranks are dealt out at random.
    order = sorted(range(WORDS), key=lambda word: chance.random())
    frequency = [0.0] * WORDS
    for rank, word in enumerate(order, start=1):
        frequency[word] = 1.0 / rank
    common = cumulated(frequency)
    # Typical words are neither the most frequent ones nor the rarest.
    typical = {
        "invoice": order[50 : 50 + 2 * TYPICAL : 2],
        "letter": order[51 : 51 + 2 * TYPICAL : 2],
    }
    sums = {kind: cumulated(frequency[word] for word in words) for kind, words in typical.items()}

    lines = [",".join([*(f"word_{word:03}" for word in range(WORDS)), "kind"])]
    for _ in range(DOCUMENTS):
        kind = KINDS[int(chance.random() * 2)]
        other = KINDS[1 - KINDS.index(kind)]
        # Some documents are plain, some could be either.
        share = 0.05 + 0.25 * chance.random()
        counts = [0] * WORDS
        for _ in range(60 + int(chance.random() * 81)):
            if chance.random() < share:
                source = kind if chance.random() < 0.8 else other
                word = typical[source][draw(chance, sums[source])]
            else:
                word = draw(chance, common)
            counts[word] = min(counts[word] + 1, 9)
        lines.append(",".join([*map(str, counts), kind]))
    data = ("\n".join(lines) + "\n").encode()
    (HERE / "data.csv").write_bytes(data)
    print(f"data.csv: {DOCUMENTS} documents, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
