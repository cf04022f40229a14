"""The rows of the register and their lots, and the corrections of their values."""

import forms


def rows(folder):
    """What a register's lines say, in order: corrections come after the rows of their time."""
    told = [(entry.at_ms, row(folder, record, entry)) for entry in folder.entries for record in entry.records]
    told += [(it.correction.at_ms, corrected_row(folder, it)) for it in folder.corrections if it.record is not None]
    return [cells for _, cells in sorted(told, key=lambda line: line[0])]


def row(folder, record, entry):
    key = ("row", record.original)
    if record.is_back():
        value = folder.worth.before(key, folder.booked_at.get(key, entry.at_ms), entry.seq)
    else:
        value = folder.worth.of(key, entry.at_ms)
    sign = -1 if record.is_back() else 1
    residency = folder.parties.get(folder.owners.get(record.account), "")

    def basis(told):
        sender = folder.resident(told["sender_residency"])
        is_abroad = sender and residency and sender != residency
        if record.is_sold():
            return "SALE_TO_NON_RESIDENT" if is_abroad else "SALE_TO_RESIDENT"
        # Whether a service to a non-resident is told apart is the profile's to say.
        serves = is_abroad and told["basis"] == "SERVICE_TO_NON_RESIDENT"
        return told["basis"] if serves else "RECEIPT"

    return {
        "sequence": str(record.seq),
        "event": record.event,
        "state": folder.states.of(record),
        "original_sequence": str(record.original) if record.is_back() else "",
        "txid": forms.cell(record.txid),
        "vout": str(record.vout),
        "block_hash": forms.cell(record.block_hash),
        "block_height": str(record.block_height),
        **times(folder, entry.at_ms),
        "account": str(record.account),
        "party": folder.party(record.account),
        "address": forms.cell(record.address),
        "script": forms.cell(record.script),
        "amount_sat": str(record.sat),
        "amount_btc": forms.btc(record.sat),
        "movement_sat": str(record.movement()),
        "movement_btc": forms.btc(record.movement()),
        "basis": basis,
        "receiver_residency": residency,
        "lot_count": str(len(record.lots)),
        "lots": forms.cell(forms.lots_cell(record.lots)),
        **folder.value_cells(value, lambda worth: sign * worth),
        "screenings": forms.cell(" | ".join(folder.letting_go(record, entry))),
        "row_hash": forms.cell(record.hash),
    }


def corrected_row(folder, corrected):
    """The row that is corrected, with another value and nothing moved."""
    correction = corrected.correction
    return {
        **row(folder, corrected.record, corrected.entry),
        "sequence": str(correction.row),
        "event": "CORRECTED",
        "original_sequence": str(corrected.record.seq),
        **times(folder, correction.at_ms),
        "movement_sat": "0",
        "movement_btc": forms.btc(0),
        **folder.value_cells(correction.value, lambda _: correction.difference()),
        "row_hash": folder.books.journal_hashes[correction.row],
    }


def times(folder, at_ms):
    return {"time_utc": forms.utc(at_ms), "time_local": folder.zone.local(at_ms)}


def lot_rows(folder):
    """The lots of each line of the register."""
    lines = [(entry.at_ms, record.seq, record.event, record) for entry in folder.entries for record in entry.records]
    of_records = [corrected for corrected in folder.corrections if corrected.record is not None]
    lines += [(it.correction.at_ms, it.correction.row, "CORRECTED", it.record) for it in of_records]
    signs = {"DELIVERED": 1, "REVERSED": -1, "CORRECTED": 0}
    return [
        {
            "sequence": str(seq),
            "event": event,
            "state": folder.states.of_lot(record, lot),
            "delivery": forms.cell(record.delivery),
            "account": str(record.account),
            "lot": str(number),
            "coinbase": forms.cell(lot.coinbase),
            "block_hash": forms.cell(lot.block_hash),
            "credit": forms.cell(lot.credit),
            "amount_sat": str(lot.sat),
            "amount_btc": forms.btc(lot.sat),
            "movement_sat": str(signs[event] * lot.sat),
        }
        for _, seq, event, record in sorted(lines, key=lambda line: line[0])
        for number, lot in enumerate(record.lots, 1)
    ]
