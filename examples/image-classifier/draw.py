"""Draws sample.pgm, a line of text as a scanner would see it. Only Python's standard library.

    python3 draw.py [TEXT] > sample.pgm
"""

import sys

# Five columns by seven rows for each letter, a bit per pixel, rows from the top.
FONT = {
    "A": "0E 11 11 1F 11 11 11", "C": "0E 11 10 10 10 11 0E", "D": "1E 11 11 11 11 11 1E", "E": "1F 10 10 1E 10 10 1F",
    "F": "1F 10 10 1E 10 10 10", "G": "0E 11 10 17 11 11 0F", "H": "11 11 11 1F 11 11 11", "I": "0E 04 04 04 04 04 0E",
    "L": "10 10 10 10 10 10 1F", "M": "11 1B 15 15 11 11 11", "N": "11 19 15 13 11 11 11", "O": "0E 11 11 11 11 11 0E",
    "P": "1E 11 11 1E 10 10 10", "R": "1E 11 11 1E 14 12 11", "T": "1F 04 04 04 04 04 04", "U": "11 11 11 11 11 11 0E",
    "W": "11 11 11 15 15 1B 11", " ": "00 00 00 00 00 00 00",
}
SCALE = 4
INK, PAPER = 20, 235


def draw(text):
    """The rows of a grey image, one byte per pixel."""
    letters = [[int(row, 16) for row in FONT[letter].split()] for letter in text]
    width, height = (6 * len(letters) + 1) * SCALE, 9 * SCALE
    image = [bytearray([PAPER] * width) for _ in range(height)]
    for place, letter in enumerate(letters):
        for row, bits in enumerate(letter):
            for column in range(5):
                if bits >> (4 - column) & 1:
                    left, top = (6 * place + column + 1) * SCALE, (row + 1) * SCALE
                    for line in image[top:top + SCALE]:
                        line[left:left + SCALE] = bytes([INK] * SCALE)
    return image


image = draw(sys.argv[1] if len(sys.argv) > 1 else "ORIGINAL")
sys.stdout.buffer.write(b"P5\n%d %d\n255\n" % (len(image[0]), len(image)))
sys.stdout.buffer.writelines(image)
