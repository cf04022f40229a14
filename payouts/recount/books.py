"""What the tables of a pool say, put together anew: what each entry means to each account, and what left the pool.

What accounts are owed comes from postings alone; what changed it comes from the rows beside them. So the two can be
held against each other, which `tables` does.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby

# Accounts of the ledger that say what is owed to an account of the pool.
PAYABLE = ("miner_immature", "miner_payable", "miner_debt")
KEPT = ("held", "blocked")
# Entries that split a block, and the one that undoes it.
SPLIT_SIGNS = {"block_found": 1, "reconnected": 1, "orphaned": -1}
# The credit of a lot that is the pool's own coin, out of its fee.
FEE = "fee"


class Unreadable(Exception):
    """The database is not one that can be recounted."""


@dataclass
class Lot:
    coinbase: str
    block_hash: str
    # That of its block (empty), of a period's line, or none: the pool's own coin.
    credit: str
    sat: int


@dataclass
class Record:
    """A row of the register with its record."""

    seq: int
    event: str
    delivery: str
    txid: str
    vout: int
    block_hash: str
    block_height: int
    account: int
    address: str
    script: str
    sat: int
    lots: list
    hash: str
    entry: int
    # The row that delivered what this one is about.
    original: int = 0

    def is_back(self):
        return self.event != "DELIVERED"

    def is_sold(self):
        return any(lot.credit == FEE for lot in self.lots)

    def movement(self):
        return -self.sat if self.is_back() else self.sat


@dataclass
class Line:
    """What an entry changes for an account. `sat` is never negative; the kind has the sign."""

    kind: str
    account: int
    sat: int
    block: object = None
    reference: str = ""
    fee: int = 0
    # What tells the receipt's values apart: of a line that takes back, those of what it takes back.
    value: object = None
    record: object = None

    SIGNS = {
        "CREDIT": 1,
        "REVERSAL": -1,
        "NETWORK_FEE": -1,
        "NETWORK_FEE_RETURNED": 1,
        "PAYOUT": -1,
        "PAYOUT_REVERSED": 1,
        "DIRECT_PAYMENT": -1,
        "DIRECT_PAYMENT_REVERSED": 1,
    }

    def movement(self):
        return self.SIGNS[self.kind] * self.sat

    def takes_back(self):
        return self.kind in ("REVERSAL", "PAYOUT_REVERSED", "DIRECT_PAYMENT_REVERSED")


@dataclass
class Entry:
    seq: int
    kind: str
    key: str
    corrects: int
    # Never before that of an earlier entry.
    at_ms: int
    postings: list
    batch: object = None
    records: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    # What is owed in payouts that are not confirmed: (account, change).
    reserved: list = field(default_factory=list)
    # The change of what is sold and not delivered; nobody is owed it.
    selling: int = 0

    def posted(self, account):
        return sum(sat for name, sat in self.postings if name == account)

    def kept(self, name):
        return sum(sat for account, sat in self.postings if account.partition(":")[0] == name)

    def subject(self):
        return self.key.partition(":")[0]


@dataclass
class Owed:
    payable: int = 0
    immature: int = 0
    held: int = 0
    blocked: int = 0
    reserved: int = 0

    def sum(self):
        return self.payable + self.held + self.blocked + self.reserved

    def is_nothing(self):
        return not any((self.payable, self.immature, self.held, self.blocked, self.reserved))


def post(owed, entry):
    """Adds what an entry changes to what accounts are owed."""
    for account, sat in entry.postings:
        name, _, subject = account.partition(":")
        if name in PAYABLE:
            owed[int(subject)].payable -= sat
        elif name in KEPT:
            setattr(owed[int(subject)], name, getattr(owed[int(subject)], name) - sat)
        if name == "miner_immature":
            owed[int(subject)].immature -= sat
    for account, sat in entry.reserved:
        owed[account].reserved += sat


# The pieces that payouts took of credits of blocks, of credits for work, and of the pool's own coin.
TAKEN = """
SELECT batch, vout, line, coinbase_txid, coinbase_vout, block_hash, NULL AS period, NULL AS period_line, 0 AS of_fee,
    batch_lots.sat
FROM batch_lots JOIN blocks ON blocks.hash = block_hash
UNION ALL
SELECT batch, taken.vout, taken.line, txid, reserve_lots.vout, reserve_lots.block_hash, taken.period, period_line, 0,
    taken.sat
FROM batch_period_lots AS taken
JOIN period_lots ON period_lots.period = taken.period AND period_lots.account = taken.account
    AND period_lots.line = period_line
JOIN reserve_lots ON reserve_lots.number = reserve_lot
UNION ALL
SELECT batch, vout, line, coinbase_txid, coinbase_vout, block_hash, NULL, NULL, 1, sat FROM batch_fee_lots
ORDER BY batch, vout, line
"""
TABLES = "entries postings blocks credits batches batch_fee_lots export_rows export_lots export_journal".split()


class Books:
    def __init__(self, connection, differences):
        self.differences = differences
        tables = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = set(TABLES) - tables
        if missing:
            raise Unreadable(f"the database has no table {', '.join(sorted(missing))}")

        def rows(statement):
            return [dict(row) for row in connection.execute(statement)]

        def grouped(statement, *keys):
            of = lambda row: tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]
            return {key: list(group) for key, group in groupby(rows(statement), key=of)}

        self.accounts = {row["id"]: row for row in rows("SELECT * FROM accounts")}
        self.blocks = {row["hash"]: row for row in rows("SELECT * FROM blocks")}
        self.credits = grouped("SELECT * FROM credits ORDER BY block_hash, account", "block_hash")
        self.period_lots = grouped("SELECT * FROM period_lots ORDER BY period, account, line", "period")
        self.reserve_lots = rows("SELECT * FROM reserve_lots ORDER BY number")
        self.deposits = {f"{row['txid']}:{row['vout']}": row for row in rows("SELECT * FROM deposits")}
        self.batches = {row["id"]: row for row in rows("SELECT * FROM batches")}
        self.outputs = grouped("SELECT * FROM batch_outputs ORDER BY batch, vout", "batch")
        self.attempts = grouped("SELECT * FROM batch_attempts ORDER BY batch, attempt", "batch")
        self.batch_lots = grouped(TAKEN, "batch", "vout")
        # Satoshis of the fee that a transaction of somebody else's took instead of a payout: (payout, transaction).
        self.losses = {(str(row["batch"]), row["txid"]): row["loss_sat"] for row in rows("SELECT * FROM conflicts")}
        self.restraints = rows("SELECT * FROM restraints ORDER BY entry")
        self.balances = {row["account"]: row["sat"] for row in rows("SELECT * FROM balances")}
        self.journal = [
            (row["seq"], row["kind"], json.loads(row["body"]))
            for row in rows("SELECT * FROM export_journal ORDER BY seq")
        ]
        self.journal_hashes = {row["seq"]: row["hash"] for row in rows("SELECT seq, hash FROM export_journal")}
        self.entry_hashes = {row["seq"]: row["hash"] for row in rows("SELECT seq, hash FROM entries")}
        self.records = read_records(rows, grouped)
        self.register_hashes = {record.seq: record.hash for record in self.records}
        self.entries = self.read_entries(rows, grouped)
        self.by_seq = {entry.seq: entry for entry in self.entries}

    def read_entries(self, rows, grouped):
        postings = grouped("SELECT * FROM postings ORDER BY entry, line", "entry")
        of_entry = defaultdict(list)
        for record in self.records:
            of_entry[record.entry].append(record)
        entries, confirmed, direct, at_ms = [], set(), {}, None
        for row in rows("SELECT * FROM entries ORDER BY seq"):
            at_ms = row["at_ms"] if at_ms is None else max(at_ms, row["at_ms"])
            lines = [(line["account"], line["sat"]) for line in postings.get(row["seq"], [])]
            entry = Entry(row["seq"], row["kind"], row["key"], row["corrects"], at_ms, lines)
            entry.records = of_entry[entry.seq]
            reserved = [account for account, _ in lines if account.startswith("reserved:")]
            entry.batch = int(reserved[0].partition(":")[2]) if reserved else None
            if entry.kind in SPLIT_SIGNS:
                entry.lines = self.split(entry, direct)
            elif entry.kind == "direct_paid":
                entry.lines = [self.direct(entry, direct)]
            elif entry.kind == "credited":
                entry.lines = self.work(entry)
            elif entry.batch is not None:
                self.payout(entry, confirmed)
            entries.append(entry)
        return entries

    def split(self, entry, direct):
        """A block's credits, or what undoes them with what its coinbase paid directly."""
        block = self.block(entry, entry.subject())
        kind = "CREDIT" if SPLIT_SIGNS[entry.kind] > 0 else "REVERSAL"
        valued_by = entry.seq if kind == "CREDIT" else entry.corrects
        credits = self.credits.get(block["hash"], [])
        fees = parts_of(block["fee_sat"], [credit["sat"] for credit in credits])
        lines = []
        for credit, fee in zip(credits, fees):
            account, sat = credit["account"], credit["sat"]
            lines.append(Line(kind, account, sat, block, coinbase(block), fee, ("entry", valued_by, account)))
        if kind == "REVERSAL":
            for vout, account, sat in direct_payments(block):
                delivery = f"{block['coinbase_txid']}:{vout}"
                value = ("entry", direct.pop(delivery, entry.seq), account)
                lines.append(Line("DIRECT_PAYMENT_REVERSED", account, sat, block, delivery, value=value))
        return lines

    def direct(self, entry, direct):
        named = [account.partition(":")[2] for account, _ in entry.postings if account.startswith("immature:")]
        block = self.block(entry, named[0] if named else "")
        for vout, account, sat in direct_payments(block):
            delivery = f"{block['coinbase_txid']}:{vout}"
            if entry.key == delivery or entry.key.startswith(f"{delivery}:"):
                direct[delivery] = entry.seq
                return Line("DIRECT_PAYMENT", account, sat, block, delivery, value=("entry", entry.seq, account))
        raise Unreadable(f"entry {entry.seq} pays {entry.key} directly, which is no such output of its block")

    def work(self, entry):
        """Credits of a period of work, by account."""
        sums = defaultdict(int)
        for lot in self.period_lots.get(int(entry.key), []):
            sums[lot["account"]] += lot["sat"]
        reference = f"period {int(entry.key)}"
        return [
            Line("CREDIT", account, sat, None, reference, 0, ("entry", entry.seq, account))
            for account, sat in sorted(sums.items())
        ]

    def payout(self, entry, confirmed):
        """What a payout's entry changes. What was paid is told by the register, which is compared with the outputs."""
        sold = [output for output in self.outputs.get(entry.batch, []) if self.is_sold(output)]
        outputs = [output for output in self.outputs.get(entry.batch, []) if not self.is_sold(output)]
        fees = lambda kind: [
            Line(kind, output["account"], output["fee_sat"], None, f"payout {entry.batch}")
            for output in outputs
            if output["fee_sat"]
        ]
        paid = lambda kind: [
            Line(kind, record.account, record.sat, None, record.delivery, 0, ("row", record.original), record)
            for record in entry.records
            if not record.is_sold()
        ]
        way = 1
        if entry.kind == "payout_created":
            entry.lines = fees("NETWORK_FEE")
        elif entry.kind == "confirmed":
            confirmed.add(entry.seq)
            entry.lines, way = paid("PAYOUT"), -1
        elif entry.corrects in confirmed:
            entry.lines = paid("PAYOUT_REVERSED")
        else:
            entry.lines, way = fees("NETWORK_FEE_RETURNED"), -1
        entry.reserved = [(output["account"], way * pays(output)) for output in outputs]
        entry.selling = sum(way * pays(output) for output in sold)

    def is_sold(self, output):
        return any(lot["of_fee"] for lot in self.batch_lots.get((output["batch"], output["vout"]), []))

    def block(self, entry, block_hash):
        if block_hash not in self.blocks:
            raise Unreadable(f"entry {entry.seq} is about block {block_hash!r}, which is not in the database")
        return self.blocks[block_hash]


def read_records(rows, grouped):
    lots = grouped("SELECT * FROM export_lots ORDER BY txid, vout, line", "txid", "vout")
    records, delivered = [], {}
    for row in rows("SELECT * FROM export_rows LEFT JOIN export_records USING (txid, vout) ORDER BY seq"):
        of_record = [
            Lot(f"{lot['coinbase_txid']}:{lot['coinbase_vout']}", lot["block_hash"], credit_of(lot), lot["sat"])
            for lot in lots.get((row["txid"], row["vout"]), [])
        ]
        delivery = f"{row['txid']}:{row['vout']}"
        script = bytes(row["script_pubkey"]).hex()
        record = Record(
            row["seq"], row["state"], delivery, row["txid"], row["vout"], row["block_hash"], row["block_height"],
            row["account"], row["address"], script, row["sat"], of_record, row["hash"], row["entry"],
        )
        if not record.is_back():
            delivered[delivery] = record.seq
        record.original = delivered.get(delivery, record.seq)
        records.append(record)
    return records


def credit_of(lot):
    """The credit that a piece of a coin belongs to, if not that of its block."""
    if lot["of_fee"]:
        return FEE
    return "" if lot["period"] is None else f"period {lot['period']}:{lot['period_line']}"


def coinbase(block):
    return f"{block['coinbase_txid']}:{block['coinbase_vout']}"


def pays(output):
    return output["sat"] - output["fee_sat"]


def direct_payments(block):
    """What a coinbase pays miners directly: `vout:account=satoshis`, joined by commas."""
    for payment in filter(None, block["direct"].split(",")):
        vout, _, paid = payment.partition(":")
        account, _, sat = paid.partition("=")
        yield int(vout), int(account), int(sat)


def parts_of(sat, weights):
    """Divides by weight, rounded down; what is left goes to the largest remainders, the first of equals."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [sat * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda at: -(sat * weights[at] % whole))
    for at in order[: sat - sum(parts)]:
        parts[at] += 1
    return parts
