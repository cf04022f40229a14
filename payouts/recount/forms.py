"""How amounts, times, names and cells are written in the reports."""

import hashlib
import unicodedata
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
BTC_DECIMALS = 8
SAT_PER_BTC = 100_000_000
# How many lots a cell tells at most, and how long a part of a file name is.
LOTS_IN_CELL = 200
NAME_CHARS = 48
# Currencies whose minor unit is not a hundredth (ISO 4217).
DECIMALS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}


def decimals_of(currency):
    return DECIMALS.get(currency, 2)


def decimal(minor, decimals):
    digits = str(abs(minor)).rjust(decimals + 1, "0")
    sign = "-" if minor < 0 else ""
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def btc(sat):
    return decimal(sat, BTC_DECIMALS)


def half_up(exact):
    """Rounds a fraction to a whole number, a half away from zero."""
    magnitude = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return -magnitude if exact < 0 else magnitude


def worth(sat, price, rate, currency):
    """What satoshis are worth in minor units: one product of exact numbers, rounded once."""
    return half_up(Fraction(sat, SAT_PER_BTC) * Fraction(price) * rate * 10 ** decimals_of(currency))


def milliseconds(moment):
    return (moment - EPOCH) // timedelta(milliseconds=1)


def utc(ms):
    moment = EPOCH + timedelta(milliseconds=ms)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}Z" if ms % 1000 == 0 else f"{text}.{ms % 1000:03}Z"


class Zone:
    """A time zone by the name that the manifest has: UTC, an offset such as +03:00, or an IANA name."""

    def __init__(self, name):
        if name == "UTC":
            self.rules = timezone.utc
        elif name[:1] in "+-":
            sign = -1 if name[0] == "-" else 1
            hours, minutes = name[1:].split(":")
            self.rules = timezone(sign * timedelta(hours=int(hours), minutes=int(minutes)))
        else:
            from zoneinfo import ZoneInfo

            try:
                self.rules = ZoneInfo(name)
            except KeyError as error:
                raise ValueError(f"time zone {name} is not known here: install tzdata") from error

    def local(self, ms):
        moment = (EPOCH + timedelta(milliseconds=ms)).astimezone(self.rules)
        text = moment.strftime("%Y-%m-%dT%H:%M:%S")
        if ms % 1000:
            text += f".{ms % 1000:03}"
        minutes = moment.utcoffset() // timedelta(minutes=1)
        sign = "-" if minutes < 0 else "+"
        return f"{text}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"

    def start_of(self, day):
        return milliseconds(datetime(day.year, day.month, day.day, tzinfo=self.rules))


def days_of(label):
    """The first day of a period and the first day after it: of a month, a quarter or a year."""
    year, _, part = label.partition("-")
    first, months = (int(part), 1) if part.isdigit() else (1, 12)
    if part.startswith("Q"):
        first, months = 3 * int(part[1:]) - 2, 3
    end = int(year) * 12 + first - 1 + months
    return date(int(year), first, 1), date(end // 12, end % 12 + 1, 1)


def file_part(name):
    """A miner's name as a part of a file name."""
    def plain(c):
        return c.isascii() and (c.islower() or c.isdigit() or c in "-_")

    if name and len(name) <= NAME_CHARS and all(map(plain, name)):
        return name
    small = (c.lower() if c.isascii() else c for c in name[:NAME_CHARS])
    cleaned = "".join(c if plain(c) else "_" for c in small)
    return f"{cleaned}.{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def cell(text):
    """A text as a cell has it: with an apostrophe wherever a spreadsheet would find a formula."""
    written, at_start = [], True
    for c in text:
        if at_start and c in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'":
            written.append("'")
        written.append(c)
        at_start = c in ";\t\r\n" or (at_start and is_skipped(c))
    return "".join(written)


def is_skipped(c):
    marks = c in "\u00ad\u061c\u180e\ufeff" or "\u200b" <= c <= "\u200f" or "\u202a" <= c <= "\u202e"
    return marks or "\u2060" <= c <= "\u206f" or c.isspace() or unicodedata.category(c) == "Cc"


def lots_cell(lots):
    told = [f"{lot.coinbase}@{lot.block_hash}={lot.sat}" for lot in lots[:LOTS_IN_CELL]]
    if len(lots) > LOTS_IN_CELL:
        told.append(f"{len(lots) - LOTS_IN_CELL} more")
    return ";".join(told)
