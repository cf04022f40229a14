"""Corrections of values of closed periods that count in the reported one."""

from collections import defaultdict
from dataclasses import dataclass

import forms
from worth import Correction, told


@dataclass
class Corrected:
    """A receipt whose value is corrected."""

    # CREDIT, PAYOUT or DIRECT_PAYMENT.
    kind: str
    account: int
    reference: str
    sat: int
    # When it was booked.
    at_ms: int
    correction: Correction
    # Of a delivery, its row, and the entry that came with it.
    record: object = None
    entry: object = None

    def is_of_account(self):
        """Tells whether an account's statement has it: what was sold was nobody's."""
        return self.record is None or not self.record.is_sold()

    def section(self):
        return f"{self.kind}_CORRECTED"

    def journal_row(self):
        return f"journal:{self.correction.row}"

    def detail(self):
        was = told(self.correction.was)
        return f"{self.sat} sat of {forms.utc(self.at_ms)}, worth {was} until {self.journal_row()}"


class Corrections:
    """Corrections on their way through the ledger."""

    def __init__(self, folder):
        self.folder, self.pending = folder, defaultdict(list)

    def note(self, entry):
        """Takes in what is received with an entry, and what it takes back: later values of that count no more."""
        for line in entry.lines:
            if line.kind in ("CREDIT", "DIRECT_PAYMENT"):
                self.received(line.value, line.kind, line.account, line.reference, line.sat, entry)
            elif line.kind in ("REVERSAL", "DIRECT_PAYMENT_REVERSED"):
                self.taken_back(line.value, entry)
        for record in entry.records:
            key = ("row", record.original)
            if record.is_back():
                self.taken_back(key, entry)
            else:
                self.received(key, "PAYOUT", record.account, record.delivery, record.sat, entry, record)

    def received(self, key, kind, account, reference, sat, entry, record=None):
        begins, ends = self.folder.span
        for correction in self.folder.worth.corrections(key, entry.at_ms):
            if begins <= correction.at_ms < ends:
                corrected = Corrected(kind, account, reference, sat, entry.at_ms, correction, record, entry)
                self.pending[key].append(corrected)

    def taken_back(self, key, entry):
        self.pending[key] = [it for it in self.pending[key] if it.correction.ledger < entry.seq]

    def finish(self):
        """All that count, in the order in which they came."""
        pending = [corrected for of_receipt in self.pending.values() for corrected in of_receipt]
        return sorted(pending, key=lambda corrected: (corrected.correction.at_ms, corrected.correction.row))
