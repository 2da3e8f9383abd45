"""Writes stems.tsv: words, a line each on standard input, and their stems by Snowball's own code.

pip install PyStemmer==3.1.0; python make_stems.py < words.txt > stems.tsv
"""
import sys

import Stemmer

english = Stemmer.Stemmer("english")
for word in sorted(set(sys.stdin.read().split())):
    print(f"{word}\t{english.stemWord(word)}")
