"""What receipts count as worth: the values on record, the periods that were declared and closed, and corrections.

While a period is open the last value counts. Once it is closed, what it was declared with stands, and each later value
corrects it when it came on record, or when the period was closed if that was later.
"""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

import forms

VALUED = "VALUED"


@dataclass
class Place:
    """Where a row of the journal stands: itself, the ledger's last entry then, and the time."""

    row: int
    ledger: int
    at_ms: int


@dataclass
class Stated:
    place: Place
    profile: str
    # Nothing if there was no price.
    value: object


@dataclass
class Period:
    """A period by its last declaration."""

    said: dict
    declared: Place
    closed: object = None

    def has(self, at_ms):
        return self.said["from_ms"] <= at_ms < self.said["until_ms"]

    def overlaps(self, said):
        return self.said["from_ms"] < said["until_ms"] and said["from_ms"] < self.said["until_ms"]


@dataclass
class Correction:
    """A value that came on record after the period of its receipt was declared, once that is closed."""

    at_ms: int
    ledger: int
    row: int
    was: object
    value: object

    def difference(self):
        """In minor units; nothing if there was no value before, or one in another currency."""
        if self.was is None or self.value is None:
            return None
        was, value = self.was["value"], self.value["value"]
        return value["minor"] - was["minor"] if was["currency"] == value["currency"] else None


class Worth:
    """The values and periods on record by all versions of a profile, up to a row of the journal.

    `span` is the reported period: what was declared of it, and not closed, does not count in its own reports.
    """

    def __init__(self, books, upto, profile, span):
        self.profile, self.span = profile, span
        self.stated, self.periods = defaultdict(list), {}
        for seq, kind, said in books.journal:
            if seq > upto:
                break
            if name_of(said.get("profile", "")) != name_of(profile):
                continue
            place = Place(seq, said["ledger_seq"], said["at_ms"])
            if kind == VALUED:
                appraisal = said["appraisal"]
                value = appraisal if appraisal["state"] == VALUED else None
                self.stated[key_of(said)].append(Stated(place, said["profile"], value))
            elif kind == "DECLARED":
                self.periods[said["period"]] = Period(said, place)
            elif kind == "CLOSED" and self.periods[said["period"]].closed is None:
                self.periods[said["period"]].closed = place

    def containing(self, at_ms):
        """The declared period of a time, a closed one before others."""
        having = [period for period in self.periods.values() if period.has(at_ms)]
        return next((period for period in having if period.closed), having[-1] if having else None)

    def of(self, key, at_ms):
        """What a receipt that was booked at a time counts as worth in the period of that time."""
        period = self.containing(at_ms)
        if period is None or (period.closed is None and self.span[0] <= at_ms < self.span[1]):
            return last([stated for stated in self.stated[key] if stated.profile == self.profile])
        return last(self.split(key, period)[0])

    def split(self, key, period):
        """The values that a period was declared with, and those since, by the version that declared it."""
        upto = period.said["as_of"]["journal"]["seq"]
        of_version = [stated for stated in self.stated[key] if stated.profile == period.said["profile"]]
        earlier = [stated for stated in of_version if stated.place.row <= upto]
        return earlier, of_version[len(earlier) :]

    def corrections(self, key, at_ms):
        period = self.containing(at_ms)
        if period is None or period.closed is None:
            return []
        earlier, later = self.split(key, period)
        was, corrections, closed = last(earlier), [], period.closed
        for stated in later:
            place = stated.place
            at_ms, ledger = max(place.at_ms, closed.at_ms), max(place.ledger, closed.ledger)
            corrections.append(Correction(at_ms, ledger, place.row, was, stated.value))
            was = stated.value
        return corrections

    def before(self, key, at_ms, entry):
        """What a receipt counts as worth when an entry takes it back; with all corrections if there is no entry."""
        until_then = [it for it in self.corrections(key, at_ms) if entry is None or it.ledger < entry]
        return until_then[-1].value if until_then else self.of(key, at_ms)


def last(stated):
    return stated[-1].value if stated else None


def name_of(profile):
    return profile.rpartition("/")[0] or profile


def key_of(said):
    """What tells the values of one receipt apart."""
    about = said["about"]
    if about["of"] == "record":
        return "row", about["row"]
    return ("fee", about["entry"]) if about["of"] == "pool_fee" else ("entry", about["entry"], about["account"])


def exchange(value):
    """How many units of the value's currency one of the price's is."""
    fx = value["fx"]
    if fx is None:
        return Fraction(1)
    quoted = value["price_of"]["pair"].partition("/")[2]
    rate = Fraction(fx["rate"]) / fx["nominal"]
    return rate if fx["rate_of"]["base"] == quoted else 1 / rate


def told(value):
    """A value as texts have it."""
    if value is None:
        return "UNVALUED"
    currency = value["value"]["currency"]
    return f"{forms.decimal(value['value']['minor'], forms.decimals_of(currency))} {currency}"


def recount(books):
    """Periods are declared when they are over, by records that were there, and closed once they are declared."""
    require, known = books.differences.require, {}
    for seq, kind, said in books.journal:
        if kind not in ("DECLARED", "CLOSED"):
            continue
        where, name = f"journal row {seq}", name_of(said["profile"])
        of_profile = known.setdefault(name, {})
        if kind == "CLOSED":
            require("closed periods", where, said["period"] in of_profile, f"{said['period']} was never declared")
            of_profile.setdefault(said["period"], Period(said, None)).closed = seq
            continue
        over = said["at_ms"] >= said["until_ms"]
        require("declared periods", where, over, f"{said['period']} was not over")
        for label, period in of_profile.items():
            is_free = period.closed is None or not (label == said["period"] or period.overlaps(said))
            require("declared periods", where, is_free, f"{said['period']} has time of {label}, which was closed")
        compare_marks(books, where, said["as_of"], seq)
        if said["period"] not in of_profile or of_profile[said["period"]].closed is None:
            of_profile[said["period"]] = Period(said, None)


def compare_marks(books, where, as_of, before=None):
    """Chains have the records up to where they were read, and had them by then."""
    chains = {"ledger": books.entry_hashes, "register": books.register_hashes, "journal": books.journal_hashes}
    for chain, mark in as_of.items():
        found = chains[chain].get(mark["seq"]) if mark["seq"] else "0" * 64
        books.differences.compare("heads of chains", f"{where}: {chain} {mark['seq']}", mark["hash"], found)
    if before is not None:
        is_earlier = as_of["journal"]["seq"] < before
        books.differences.require("heads of chains", where, is_earlier, "it was declared from rows that came later")
