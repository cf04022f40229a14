"""The three hash chains: ledger, register and journal.

Ledger and register hash a domain, a zero byte, the hash before (32 bytes) and the record: each text with its length
before it, each number in 8 bytes, big-endian, lists with their length before them. The journal hashes the hash before
as 64 hexadecimal digits, and the row's JSON as it stands.
"""

import hashlib
import json
from itertools import groupby

ORIGIN = "0" * 64
PAYLOAD_DOMAINS = ["adit ledger payload 1", "adit ledger payload 2"]
ENTRY_DOMAINS = ["adit ledger entry 1", "adit ledger entry 2"]
ROW_DOMAIN = "adit export row 1"


def number(value):
    return value.to_bytes(8, "big", signed=True)


def text(value):
    data = value.encode()
    return number(len(data)) + data


def link(domain, previous, record):
    return hashlib.sha256(domain.encode() + b"\0" + bytes.fromhex(previous) + record).hexdigest()


def recount(connection, differences):
    entry_hashes = ledger(connection, differences)
    register(connection, differences, entry_hashes)
    journal(connection, differences, entry_hashes)


def follows(what, place, row, before, differences):
    """A row has the next number and names the hash before it."""
    differences.compare(f"links of the {what}", f"{what} {row['seq']}: place", row["seq"], place)
    differences.compare(f"links of the {what}", f"{what} {row['seq']}: previous hash", row["previous"], before)


def ledger(connection, differences):
    """Returns the hash of each entry."""
    lines = connection.execute("SELECT entry, account, sat FROM postings ORDER BY entry, line")
    postings = {entry: list(group) for entry, group in groupby(lines, key=lambda line: line["entry"])}
    before, hashes = ORIGIN, {}
    for place, row in enumerate(connection.execute("SELECT * FROM entries ORDER BY seq"), 1):
        where = f"ledger entry {row['seq']}"
        follows("ledger", place, row, before, differences)
        of_entry = postings.pop(row["seq"], [])
        record = text(row["kind"]) + text(row["key"]) + number(row["corrects"] or 0) + number(len(of_entry))
        record += b"".join(text(line["account"]) + number(line["sat"]) for line in of_entry)
        version = 0 if row["facts"] is None else 1
        if version:
            record += text(row["facts"])
        digest = link(PAYLOAD_DOMAINS[version], ORIGIN, record)
        differences.compare("digests of the ledger", f"{where}: digest", row["digest"], digest)
        placed = record + number(row["seq"]) + number(row["at_ms"])
        differences.compare(
            "hashes of the ledger", f"{where}: hash", row["hash"], link(ENTRY_DOMAINS[version], row["previous"], placed)
        )
        total = sum(line["sat"] for line in of_entry)
        differences.require("entries that sum to zero", where, total == 0, f"its postings sum to {total} sat")
        before = hashes[row["seq"]] = row["hash"]
    differences.require("entries with postings", "ledger", not postings, f"postings without an entry: {list(postings)}")
    return hashes


def register(connection, differences, entry_hashes):
    lots = connection.execute("SELECT * FROM export_lots ORDER BY txid, vout, line")
    lots = {key: list(group) for key, group in groupby(lots, key=lambda lot: (lot["txid"], lot["vout"]))}
    rows = connection.execute(
        "SELECT export_rows.*, sat, account, address, script_pubkey FROM export_rows"
        " LEFT JOIN export_records USING (txid, vout) ORDER BY seq"
    )
    before = ORIGIN
    for place, row in enumerate(rows, 1):
        where = f"register row {row['seq']}"
        follows("register", place, row, before, differences)
        of_record = lots.get((row["txid"], row["vout"]), [])
        record = number(row["seq"]) + text(f"{row['txid']}:{row['vout']}") + number(row["sat"]) + number(row["account"])
        record += text(row["address"]) + text(row["script_pubkey"].hex()) + number(len(of_record))
        for lot in of_record:
            record += text(f"{lot['coinbase_txid']}:{lot['coinbase_vout']}") + text(lot["block_hash"])
            record += number(lot["sat"])
            if lot["of_fee"]:
                record += text("fee")
            elif lot["period"] is not None:
                record += text(f"period {lot['period']}:{lot['period_line']}")
        record += text(row["state"]) + text(row["block_hash"]) + number(row["block_height"])
        record += number(row["block_time_s"]) + number(row["entry"]) + text(row["entry_hash"])
        differences.compare(
            "hashes of the register", f"{where}: hash", row["hash"], link(ROW_DOMAIN, row["previous"], record)
        )
        differences.compare(
            "entries that the register names", f"{where}: entry", row["entry_hash"], entry_hashes.get(row["entry"])
        )
        differences.compare(
            "records with their lots", f"{where}: lots", sum(lot["sat"] for lot in of_record), row["sat"]
        )
        before = row["hash"]


def journal(connection, differences, entry_hashes):
    before = ORIGIN
    for place, row in enumerate(connection.execute("SELECT * FROM export_journal ORDER BY seq"), 1):
        where = f"journal row {row['seq']}"
        follows("journal", place, row, before, differences)
        hashed = hashlib.sha256((row["previous"] + row["body"]).encode()).hexdigest()
        differences.compare("hashes of the journal", f"{where}: hash", row["hash"], hashed)
        said = json.loads(row["body"])
        canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        differences.compare("canonical rows of the journal", where, row["body"], canonical)
        differences.compare("columns of the journal", where, (row["seq"], row["kind"]), (said["seq"], said["kind"]))
        named = said["ledger_hash"]
        found = entry_hashes.get(said["ledger_seq"]) if said["ledger_seq"] else ORIGIN
        differences.compare("entries that the journal names", f"{where}: ledger", named, found)
        before = row["hash"]
