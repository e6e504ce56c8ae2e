"""Who masks with whom: the Harary graph on a shuffled ring, and how many neighbours and shares are enough.

J. H. Bell, K. Bonawitz, A. Gascon, T. Lepoint, M. Raykova: "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead", CCS 2020, https://eprint.iacr.org/2020/704, section 3. Three events must not happen:

- secrecy: a client has t or more neighbours that collude with the server; they could open its self-mask and, where the
  server says that it dropped out, its pair masks. Colluding neighbours are hypergeometric: k draws from n - 1 others.
- secrecy: without the colluding and the vanished, the graph falls apart; the server would see a sum for each piece.
- correctness: a client keeps fewer than t neighbours, so that its secret cannot be opened and the round ends.

Against a server that lies about who dropped out, an honest neighbour gives it one share of the two secrets of a client
and a colluding one gives both: k + (colluding neighbours) shares in all, so 2 t must exceed that.

Differs from the paper: tails are summed exactly, with a union bound over clients, not estimated; the two secrecy events
have half of the chance of failure each; connectivity is bounded by one run of k/2 places that are gone, where two are
needed, which errs on the safe side. The parameter search of google-parfait/federated-compute (secagg/server) draws the
same three bounds, with 2^-20 for correctness.
"""

from __future__ import annotations

import math
from functools import lru_cache

from tacit.core.values import PlanError

SECRECY = 40  # bits: chance 2^-40 that any honest client of a round is exposed
CORRECTNESS = 30  # bits: chance 2^-30 that a round fails although no more clients vanish than the plan expects


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
def thresholds(
    n: int, k: int, dropout: float, colluding: float, secrecy: int = SECRECY, correctness: int = CORRECTNESS
) -> tuple[int, int, int]:
    """The thresholds that hold for n clients with k neighbours each: (least, most, lying).

    least: with fewer, colluding neighbours alone could open a client (chance above 2^-(secrecy + 1) over all clients).
    most: with more, too few neighbours remain to open the sum (chance above 2^-correctness over all clients).
    lying: from here on not even a server that tells some neighbours "survived" and others "dropped" collects t shares
        of both secrets of a client: 2 t > k + (most colluding neighbours).
    """
    least = _least(n, share(colluding, n), k, 2.0 ** -(secrecy + 1))
    most = k + 1 - _least(n, share(dropout, n), k, 2.0**-correctness)
    return least, most, (k + least - 1) // 2 + 1


def threshold(
    n: int,
    k: int,
    dropout: float,
    colluding: float,
    malicious: bool = False,
    secrecy: int = SECRECY,
    correctness: int = CORRECTNESS,
) -> int:
    """The threshold for given neighbours: what resists a lying server, as far as dropouts allow; never below `least`.

    In the complete graph secrecy comes before survival: with `malicious` the threshold resists a lying server even
    where a single dropout then ends the round.

    Raises:
        PlanError: no threshold is both secret and correct for these numbers.
    """
    least, most, lying = thresholds(n, k, dropout, colluding, secrecy, correctness)
    if k >= n - 1:  # all are neighbours, nothing is left to chance
        return max(1, min(k, max(least, lying if malicious else min(lying, most))))
    gone = share(colluding, n) + share(dropout, n)
    if least > most or disconnected(n, k, gone) > 2.0 ** -(secrecy + 1):
        needed = choose(n, dropout, colluding, malicious, secrecy, correctness)[0]
        raise PlanError(
            f"{k} neighbours among {n} clients cannot hold with {dropout:.0%} dropping out and {colluding:.0%} "
            f"colluding. Set neighbours to at least {needed}, or to 0 for the least that holds."
        )
    return min(max(lying, least), most)


@lru_cache(maxsize=4096)
def choose(
    n: int,
    dropout: float = 0.1,
    colluding: float = 0.05,
    malicious: bool = False,
    secrecy: int = SECRECY,
    correctness: int = CORRECTNESS,
) -> tuple[int, int]:
    """The least neighbours k and the threshold t for n clients; the complete graph where nothing sparser holds.

    For a random ring of which ceil(colluding n) clients collude with the server and ceil(dropout n) vanish: no honest
    client has t colluding neighbours and the honest survivors stay connected (chance of failure at most 2^-secrecy in
    all), every client keeps t neighbours (2^-correctness); with `malicious`, also 2 t > k + (colluding neighbours).

    Raises:
        PlanError: fewer than two clients.
    """
    if n < 2:
        raise PlanError(f"a secure sum needs at least 2 clients, got {n}")
    removed = share(colluding, n) + share(dropout, n)
    for k in range(2, n - 1, 2):
        if disconnected(n, k, removed) > 2.0 ** -(secrecy + 1):
            continue
        least, most, safe = thresholds(n, k, dropout, colluding, secrecy, correctness)
        if least <= most and (not malicious or safe <= most):
            return k, threshold(n, k, dropout, colluding, malicious, secrecy, correctness)
    return n - 1, threshold(n, n - 1, dropout, colluding, malicious, secrecy, correctness)
