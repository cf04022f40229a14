"""The states of records and of their lots, from what ledger, register and journal tell up to a mark."""

from collections import defaultdict
from dataclasses import dataclass, field

from books import FEE

# What happens to coins with entries, by their kinds.
OF_BLOCKS = {"matured": "MATURED", "unmatured": "UNMATURED", "orphaned": "ORPHANED", "reconnected": "RECONNECTED"}
CLOSED = ("CLOSED", "CORRECTED")


@dataclass
class Record:
    """What a paid output is on record as: from its draft on, or from where it came back out of a closed period."""

    is_sale: bool
    # Nothing once something happened that cannot have.
    state: str
    rows: list = field(default_factory=list)
    # Declared, and closed, before the money was there.
    waits: list = field(default_factory=list)

    def happens(self, what):
        if not self.state:
            return
        if self.state == "DELIVERED" and what in ("DECLARED", "CLOSED"):
            if what == "DECLARED" or self.waits:
                self.waits.append(what)
            return
        self.state = self.next(what)
        if what == "SETTLED" and self.state == "SETTLED" and self.waits:
            self.state, self.waits = self.waits[-1], []
        if what == "REVERSED":
            self.waits = []

    def next(self, what):
        state = self.state
        # A closed record stays as it was declared: what comes later is corrected in the open period.
        if state in CLOSED:
            return "CORRECTED" if what in ("REVERSED", "CORRECTED") else state if what != "DELIVERED" else ""
        if what == "DELIVERED":
            is_ready = state in ("CONTRACTED" if self.is_sale else "SCREENED", "REVERSED")
            return ("DELIVERED" if self.is_sale else "SETTLED") if is_ready else ""
        before = {
            "SETTLED": ("DELIVERED",),
            "DECLARED": ("SETTLED", "DECLARED"),
            "CLOSED": ("DECLARED",),
            "CORRECTED": ("DELIVERED", "SETTLED", "DECLARED"),
            "REVERSED": ("DELIVERED", "SETTLED", "DECLARED"),
        }
        return what if state in before[what] else ""


class States:
    """The states at the mark of a folder."""

    def __init__(self, folder):
        self.folder = folder
        as_of = folder.manifest["as_of"]
        self.moves = defaultdict(list)
        for record in folder.books.records:
            if record.seq <= as_of["register"]["seq"]:
                self.moves[record.delivery].append(record)
        self.coins = defaultdict(list)
        for entry in folder.books.entries[: as_of["ledger"]["seq"]]:
            if entry.kind in OF_BLOCKS:
                self.coins[entry.subject()].append((entry.seq, OF_BLOCKS[entry.kind]))
            elif entry.kind == "block_found":
                self.coins[entry.subject()] += []
            elif entry.kind in ("deposited", "undeposited"):
                coin = ":".join(entry.key.split(":")[:2])
                told = ["RECONNECTED", "MATURED"] if entry.kind == "deposited" else ["ORPHANED"]
                self.coins[coin] += [(entry.seq, what) for what in told]
        self.of_rows = {}
        for moves in self.moves.values():
            for told in self.records(moves):
                self.of_rows.update(dict.fromkeys(told.rows, told.state))

    def of(self, record):
        return self.of_rows.get(record.seq, "")

    def records(self, moves):
        """What an output's rows are about, in the order of ledger and journal."""
        steps = []
        for move in moves:
            steps.append(((move.entry, 0), move, "REVERSED" if move.is_back() else "DELIVERED"))
            if not move.is_back():
                steps += [(place, move, what) for place, what in self.said(move)]
        told, stands = [], None
        for (_, row), move, what in sorted(steps, key=lambda step: step[0]):
            # What is said of a delivery that came back meanwhile is about nothing.
            if row and stands is not move:
                continue
            if what == "DELIVERED":
                if not told or told[-1].state == "CORRECTED":
                    told.append(self.draft(move))
                stands = move
            elif what == "REVERSED":
                stands = None
            if not row:
                told[-1].rows.append(move.seq)
            told[-1].happens(what)
        return told

    def draft(self, move):
        batch = self.folder.books.by_seq[move.entry].batch
        is_sale = batch in self.folder.sales.by_batch
        screened = any(said["ledger_seq"] < move.entry for _, said in self.folder.screened_batches[batch])
        ready = "CONTRACTED" if is_sale else "SCREENED"
        return Record(is_sale, ready if screened else "")

    def said(self, move):
        """What the journal says of a delivery: (place, what)."""
        worth, entry = self.folder.worth, self.folder.books.by_seq[move.entry]
        sale = self.folder.sales.by_batch.get(entry.batch)
        for place, step in sale.steps if sale else []:
            if step["event"] in ("SETTLED", "DECLARED"):
                # Money that came in before the coin was delivered again settles it then.
                yield (max(place.ledger, move.entry), place.row), step["event"]
        period = worth.containing(entry.at_ms)
        if period is None or period.said["as_of"]["register"]["seq"] < move.seq:
            return
        yield (period.declared.ledger, period.declared.row), "DECLARED"
        if period.closed:
            yield (period.closed.ledger, period.closed.row), "CLOSED"
        for correction in worth.corrections(("row", move.seq), entry.at_ms):
            yield (correction.ledger, max(correction.row, period.closed.row)), "CORRECTED"

    def of_lot(self, record, lot):
        """Where the coin of a lot is: gone, once it could be, until its coinbase or its payment left the chain."""
        # A coin from elsewhere may be in a block of the pool's, and is not its coinbase.
        coin = self.coins.get(lot.coinbase, self.coins.get(lot.block_hash))
        if coin is None:
            return ""
        paid = [(move.entry, "BACK" if move.is_back() else "PAID") for move in self.moves[record.delivery]]
        is_mature = is_orphaned = is_paid = is_gone = False
        for _, what in sorted(coin + paid, key=lambda event: event[0]):
            if what in ("PAID", "BACK"):
                is_paid = what == "PAID"
            else:
                is_mature = what == "MATURED"
                is_orphaned = what == "ORPHANED"
            is_gone = is_paid and not is_orphaned and (is_gone or is_mature)
        if is_orphaned:
            return "REVERSED"
        if is_gone:
            return "SOLD" if lot.credit == FEE else "PAID"
        return "PAYABLE" if is_mature else "PROVISIONAL"
