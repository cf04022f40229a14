"""What holds of the whole database, whatever is reported: each table against the others."""

from collections import defaultdict

import forms
import sales
import transactions
import worth
from books import FEE, KEPT, PAYABLE, SPLIT_SIGNS, Owed, coinbase, credit_of, direct_payments, pays, post


def recount(books):
    owed = defaultdict(Owed)
    sums = defaultdict(int)
    for entry in books.entries:
        recount_entry(books, entry, owed)
        for account, sat in entry.postings:
            sums[account] += sat
    compare = books.differences.compare
    for account in sorted(sums.keys() | books.balances.keys()):
        compare("balances", f"balance of {account}", books.balances.get(account, 0), sums[account])
    for block in books.blocks.values():
        given = sum(credit["sat"] for credit in books.credits.get(block["hash"], []))
        given += block["fee_sat"] + block["reserve_sat"]
        compare("coinbases = fee + credits + remainder", f"block {block['hash']}", block["value_sat"], given)
    recount_credits(books)
    recount_fee(books)
    recount_outputs(books)
    sales.recount(books)
    worth.recount(books)
    recount_values(books)


def recount_entry(books, entry, owed):
    """What an entry's postings change for each account is what its rows say; and so is what the pool keeps."""
    compare, where = books.differences.compare, f"ledger entry {entry.seq} ({entry.kind} {entry.key})"
    changes = defaultdict(int)
    for line in entry.lines:
        changes[line.account] += line.movement()
    touched = changes.keys() | {account for account, _ in entry.reserved}
    posted = [name.partition(":") for name, _ in entry.postings]
    touched |= {int(subject) for name, _, subject in posted if name in PAYABLE + KEPT}
    before = {account: owed[account].sum() for account in touched}
    post(owed, entry)
    for account in sorted(touched):
        change = owed[account].sum() - before[account]
        compare("changes of what is owed", f"{where}: account {account}", change, changes[account])
    if entry.kind in SPLIT_SIGNS:
        block, sign = books.block(entry, entry.subject()), SPLIT_SIGNS[entry.kind]
        for account, sat in [("fee_immature", block["fee_sat"]), ("pps_immature", block["reserve_sat"])]:
            compare("the pool's parts of blocks", f"{where}: {account}", entry.posted(account), -sign * sat)
    if entry.batch is None:
        return
    reserved = sum(sat for _, sat in entry.reserved) + entry.selling
    compare("reservations", f"{where}: reserved", entry.posted(f"reserved:{entry.batch}"), -reserved)
    # What is sold leaves the fee when it is reserved, and comes back to it if it is not delivered; it bears thefts.
    of_fee = 0 if entry.kind == "confirmed" or entry.records else entry.selling
    of_fee += books.losses.get(tuple(entry.key.split(":conflict:")), 0)
    compare("the fee and what is sold of it", f"{where}: fee", entry.posted(FEE), of_fee)
    if entry.kind in ("confirmed", "reversed"):
        moved = reserved if entry.records or entry.kind == "confirmed" else 0
        registered = sum(record.movement() for record in entry.records)
        compare("payments in ledger and register", f"{where}: paid", -moved, registered)


def is_given_up(books, batch):
    return books.batches[batch]["state"] in ("cancelled", "replaced")


def recount_credits(books):
    """No credit was paid twice: what payouts took of it, and the coinbase paid, is on record, and is not more."""
    taken = defaultdict(int)
    for (batch, vout), lots in books.batch_lots.items():
        if is_given_up(books, batch):
            continue
        account = next(output["account"] for output in books.outputs[batch] if output["vout"] == vout)
        for lot in lots:
            if not lot["of_fee"]:
                source = lot["block_hash"] if lot["period"] is None else (lot["period"], lot["period_line"])
                taken[source, account] += lot["sat"]
    for block_hash, credits in books.credits.items():
        direct = defaultdict(int)
        # What a coinbase paid is nothing once its block has left the chain.
        if books.blocks[block_hash]["phase"] != "orphaned":
            for _, account, sat in direct_payments(books.blocks[block_hash]):
                direct[account] += sat
        for credit in credits:
            account = credit["account"]
            paid = taken[block_hash, account] + min(direct[account], credit["sat"])
            recount_paid(books, f"credit of account {account} in block {block_hash}", credit, paid)
    for period, lots in books.period_lots.items():
        for lot in lots:
            paid = taken[(period, lot["line"]), lot["account"]]
            where = f"line {lot['line']} of account {lot['account']} in period {period}"
            recount_paid(books, where, lot, paid)


def recount_paid(books, where, credit, paid):
    books.differences.compare("credits and what was paid of them", where, credit["paid_sat"], paid)
    fault = f"{paid} sat were paid of {credit['sat']}"
    books.differences.require("credits not paid beyond", where, paid <= credit["sat"], fault)


def recount_fee(books):
    """Of no coin more was sold, or given to the reserve, than it brought to the fee."""
    gone = defaultdict(int)
    for lot in books.reserve_lots:
        if lot["source"] == "fee":
            gone[f"{lot['txid']}:{lot['vout']}", lot["block_hash"]] += lot["sat"]
    for (batch, _), lots in books.batch_lots.items():
        for lot in lots:
            if lot["of_fee"] and not is_given_up(books, batch):
                gone[coinbase(lot), lot["block_hash"]] += lot["sat"]
    for (coin, block_hash), sat in gone.items():
        block, deposit = books.blocks.get(block_hash), books.deposits.get(coin)
        if block is not None and coinbase(block) == coin:
            brought = block["fee_sat"]
        else:
            brought = deposit["fee_sat"] if deposit is not None else 0
        fault = f"{sat} sat were taken of {brought}"
        books.differences.require("coins of the fee not taken beyond", f"coin {coin}", sat <= brought, fault)


def recount_outputs(books):
    """Each record of the register is an output of its entry's payout, with the first of its lots."""
    compare = books.differences.compare
    payouts = {record.seq: entry.batch for entry in books.entries for record in entry.records}
    for batch, outputs in books.outputs.items():
        for output in outputs:
            lots = books.batch_lots.get((batch, output["vout"]), [])
            where = f"payout {batch}, output {output['vout']}"
            compare("outputs with their lots", where, sum(lot["sat"] for lot in lots), output["sat"])
    for record in books.records:
        where, batch = f"register row {record.seq}", payouts.get(record.seq)
        tries = [attempt["txid"] for attempt in books.attempts.get(batch, [])]
        fault = f"the payout of its entry never tried {record.txid}"
        books.differences.require("payouts of the register", where, record.txid in tries, fault)
        if record.txid not in tries:
            continue
        output = next((output for output in books.outputs[batch] if output["vout"] == record.vout), None)
        paid = output and (output["account"], pays(output))
        compare("rows and outputs of payouts", f"{where}: account, amount", (record.account, record.sat), paid)
        account = books.accounts[record.account]
        known = (account["address"], bytes(account["script_pubkey"]).hex())
        compare("receivers", f"{where}: address, script", (record.address, record.script), known)
        lots = [(lot.coinbase, lot.block_hash, lot.credit, lot.sat) for lot in record.lots]
        compare("lots of rows and payouts", f"{where}: lots", lots, first_lots(books, batch, record))


def first_lots(books, batch, record):
    """The first of an output's lots, up to what it pays: the rest went to the network."""
    left, taken = record.sat, []
    for lot in books.batch_lots.get((batch, record.vout), []):
        part = min(left, lot["sat"])
        if part:
            taken.append((coinbase(lot), lot["block_hash"], credit_of(lot), part))
        left -= part
    return taken


def recount_values(books):
    """Each value on record is the product of what stands beside it, and is about what was received."""
    received = {("row", record.original): record.sat for record in books.records}
    for entry in books.entries:
        for line in entry.lines:
            if line.kind in ("CREDIT", "DIRECT_PAYMENT"):
                received[line.value] = line.sat
        if SPLIT_SIGNS.get(entry.kind) == 1:
            received["fee", entry.seq] = books.block(entry, entry.subject())["fee_sat"]
    compare = books.differences.compare
    for seq, kind, said in books.journal:
        if kind != "VALUED":
            continue
        where = f"journal row {seq}"
        amount = received.get(worth.key_of(said))
        compare("amounts that were valued", f"{where}: amount", said["amount_sat"], amount)
        value = said["appraisal"]
        if value["state"] != "VALUED":
            continue
        compare("amounts that were valued", f"{where}: amount", value["amount_sat"], said["amount_sat"])
        currency = value["value"]["currency"]
        exact = forms.worth(value["amount_sat"], value["price"], worth.exchange(value), currency)
        compare("values", f"{where}: value", value["value"]["minor"], exact)


def spent_and_paid(books, batch, txid):
    """What a payout's transaction spends, pays out, pays the network and pays back to the pool, from its bytes."""
    compare, where = books.differences.compare, f"transaction {txid}"
    attempt = next(attempt for attempt in books.attempts[batch] if attempt["txid"] == txid)
    unsigned, spent = transactions.unsigned(bytes(attempt["psbt"]))
    signed = transactions.transaction(bytes(attempt["signed"])) if attempt["signed"] else unsigned
    compare("ids of transactions", where, txid, signed.txid)
    compare("inputs of transactions", where, signed.inputs, unsigned.inputs)
    payouts = 0
    for output in books.outputs[batch]:
        paid = signed.outputs[output["vout"]]
        script = bytes(books.accounts[output["account"]]["script_pubkey"])
        place = f"{where}: output {output['vout']}"
        compare("outputs of transactions", place, (paid.sat, paid.script), (pays(output), script))
        payouts += pays(output)
    vouts = {output["vout"] for output in books.outputs[batch]}
    change = sum(output.sat for vout, output in enumerate(signed.outputs) if vout not in vouts)
    return sum(spent), payouts, attempt["network_fee_sat"], change
