"""Who masks with whom: the Harary graph on a shuffled ring, and how many neighbours and shares are enough.

J. H. Bell, K. Bonawitz, A. Gascon, T. Lepoint, M. Raykova: "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead", CCS 2020, https://eprint.iacr.org/2020/704, section 3. Differs from the paper: the tails are computed
(hypergeometric, union bound over clients), not estimated; and connectivity is bounded by the one way in which a Harary
graph falls apart, a run of k/2 places that are all gone.
"""

from __future__ import annotations

import math
from functools import lru_cache

from tacit.core.values import PlanError

SECRECY = 2.0**-40  # chance that any honest client of a round is exposed by its neighbourhood
CORRECTNESS = 2.0**-30  # chance that a round fails although no more clients vanish than the plan expects


def offsets(k: int) -> tuple[int, ...]:
    """Steps around the ring to the k neighbours, by slot: 1, 2, ..., and back from the other side to -1.

    If j stands in slot s of i (counted from 0), i stands in slot k - 1 - s of j. With k = n - 1, of any parity, the
    graph on n places is complete; a smaller k must be even.
    """
    ahead = (k + 1) // 2
    return tuple(range(1, ahead + 1)) + tuple(range(ahead - k, 0))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def tail(population: int, marked: int, draws: int, least: int) -> float:
    """P(X >= least) for X hypergeometric: marked ones among `draws` drawn without replacement from `population`."""
    low, high = max(least, 0, draws - (population - marked)), min(draws, marked)
    total = _log_choose(population, draws)
    return math.fsum(
        math.exp(_log_choose(marked, x) + _log_choose(population - marked, draws - x) - total)
        for x in range(low, high + 1)
    )


def share(fraction: float, n: int) -> int:
    """How many of n clients a fraction is, rounded up (a hair's breadth above an integer counts as that integer)."""
    return math.ceil(fraction * n - 1e-9)


def disconnected(n: int, k: int, removed: int) -> float:
    """Bound on P(the graph falls apart) when `removed` of its n places, chosen at random, are gone.

    A ring where everybody knows the k/2 places on each side falls apart only where k/2 places in a row are gone (and it
    takes two such runs; one is counted, which errs on the safe side). The complete graph never does.
    """
    if k >= n - 1:
        return 0.0
    chance = float(n)
    for step in range(k // 2):
        chance *= max(removed - step, 0) / (n - step)
    return min(chance, 1.0)


def _least(n: int, marked: int, k: int, limit: float) -> int:
    """The least x with n P(X >= x) <= limit for X marked ones among k neighbours; at most min(k, marked) + 1."""
    chance, x = 0.0, min(k, marked) + 1
    total = _log_choose(n - 1, k)
    while x > 0:
        if k - (x - 1) > n - 1 - marked:  # at least x marked ones are certain
            return x
        chance += math.exp(_log_choose(marked, x - 1) + _log_choose(n - 1 - marked, k - x + 1) - total)
        if n * chance > limit:
            return x
        x -= 1
    return x


@lru_cache(maxsize=4096)
def thresholds(n: int, k: int, dropout: float, colluding: float) -> tuple[int, int, int]:
    """The thresholds that hold for n clients with k neighbours each: (least, most, lying).

    least: with fewer, colluding neighbours alone could open a client (chance above SECRECY over all clients).
    most: with more, too few neighbours remain to open the sum (chance above CORRECTNESS over all clients).
    lying: from here on not even a server that tells some neighbours "survived" and others "dropped" collects t shares
        of both secrets of a client: 2 t > k + (most colluding neighbours).
    """
    least = _least(n, share(colluding, n), k, SECRECY)
    most = k + 1 - _least(n, share(dropout, n), k, CORRECTNESS)
    return least, most, (k + least - 1) // 2 + 1


def threshold(n: int, k: int, dropout: float, colluding: float) -> int:
    """The threshold for given neighbours: what resists a lying server, as far as dropouts allow; never below `least`.

    Raises:
        PlanError: no threshold is both secret and correct for these numbers.
    """
    least, most, lying = thresholds(n, k, dropout, colluding)
    if k >= n - 1:  # all are neighbours, nothing is left to chance; in a tiny cohort secrecy comes before survival
        return max(1, min(k, max(least, min(lying, most))))
    if least > most or disconnected(n, k, share(colluding, n) + share(dropout, n)) > SECRECY:
        needed = choose(n, dropout, colluding)[0]
        raise PlanError(
            f"{k} neighbours among {n} clients cannot hold with {dropout:.0%} dropping out and {colluding:.0%} "
            f"colluding. Set neighbours to at least {needed}, or to 0 for the least that holds."
        )
    return min(max(lying, least), most)


@lru_cache(maxsize=4096)
def choose(n: int, dropout: float = 0.1, colluding: float = 0.05, lying: bool = False) -> tuple[int, int]:
    """The least neighbours k and the threshold t for n clients; the complete graph where nothing sparser holds.

    For a random ring of which ceil(colluding n) clients collude with the server and ceil(dropout n) vanish: no honest
    client has t colluding neighbours and the honest survivors stay connected (chance of failure at most 2^-40 each),
    every client keeps t neighbours (2^-30); with `lying`, also 2 t > k + (colluding neighbours), see `thresholds`.

    Raises:
        PlanError: fewer than two clients.
    """
    if n < 2:
        raise PlanError(f"a secure sum needs at least 2 clients, got {n}")
    removed = share(colluding, n) + share(dropout, n)
    for k in range(2, n - 1, 2):
        if disconnected(n, k, removed) > SECRECY:
            continue
        least, most, safe = thresholds(n, k, dropout, colluding)
        if least <= most and (not lying or safe <= most):
            return k, threshold(n, k, dropout, colluding)
    return n - 1, threshold(n, n - 1, dropout, colluding)
