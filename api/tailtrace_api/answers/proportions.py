"""How sure a share is, and the difference of two: closed formulas that hold for few people too. Pure.

Both are the ones that the methods' literature recommends for small counts: the usual p ± 1.96·√(pq/n) says of 0 of 5
that it is certain.
"""

from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""1.96: so many standard errors to each side."""


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return the interval of a share `hits / of`, each from 0 to 1. Nothing known, `of` = 0, is the whole of it.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927) 209-212; method 3
    of R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statist. Med. 17 (1998) 857-872.
    """
    if not of:
        return 0.0, 1.0
    share, z2 = hits / of, Z * Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(hits_a: int, of_a: int, hits_b: int, of_b: int) -> tuple[float, float]:
    """Return the interval of a's share less b's, from -1 to 1; neither group may be empty.

    Method 10 of R. G. Newcombe, Interval estimation for the difference between independent proportions: comparison of
    eleven methods, Statist. Med. 17 (1998) 873-890.
    """
    a, b = hits_a / of_a, hits_b / of_b
    (low_a, high_a), (low_b, high_b) = wilson(hits_a, of_a), wilson(hits_b, of_b)
    difference = a - b
    return (
        difference - sqrt((a - low_a) ** 2 + (high_b - b) ** 2),
        difference + sqrt((high_a - a) ** 2 + (b - low_b) ** 2),
    )
