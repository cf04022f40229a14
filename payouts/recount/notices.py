"""What is told of screenings, of blocked property and of people, as far as the tables say it."""

import json
from fractions import Fraction
from xml.etree import ElementTree

import forms

CARF = {"carf": "urn:oecd:ties:carf:v1"}


def screening_log(folder):
    """Every screening on record in the period has its lines."""
    name = "screening_log.csv"
    if not folder.has(name, "the screening log"):
        return
    _, rows = folder.read_table(name)
    told = [(row["screening"], row["time_utc"]) for row in rows]
    expected = []
    for seq, kind, said in folder.screenings:
        lines = {"SCREENED_BATCH": lambda: len(said["outputs"]), "LISTS_LOADED": lambda: len(said["lists"])}
        evidence = said.get("evidence", [])
        lines["SCREENED"] = lambda: len(evidence) + bool(said.get("missing") or not evidence)
        expected += [(f"journal:{seq}", forms.utc(said["at_ms"]))] * lines.get(kind, lambda: 1)()
    folder.differences.compare("lines of screening logs", folder.where(name), told, expected)


def blocked_property(folder):
    """Each blocking that is in force, or ended in the period, with its amount."""
    name = "blocked_property.csv"
    if not folder.has(name, "blocked property"):
        return
    begun, found = {}, []
    for act in folder.books.restraints:
        if act["restraint"] != "blocked" or act["entry"] > folder.closed_at:
            continue
        if act["act"] == "begun":
            begun[act["account"]] = act
        elif act["act"] == "ended":
            first = begun.pop(act["account"], None)
            if first is not None and act["entry"] > folder.opened_at:
                found.append((first, act))
    found += [(first, None) for first in begun.values()]
    rows = []
    for first, ended in sorted(found, key=lambda pair: pair[0]["entry"]):
        account = first["account"]
        if ended is None:
            sat = max(folder.owed[account].blocked, 0)
        else:
            sat = max(folder.books.entries[ended["entry"] - 1].kept("blocked"), 0)
        upto = ended["entry"] if ended else folder.closed_at
        rows.append(
            {
                "blocking": f"entry:{first['entry']}",
                "state": "RELEASED" if ended else "BLOCKED",
                "blocked_utc": forms.utc(first["at_ms"]),
                "blocked_local": folder.zone.local(first["at_ms"]),
                "released_utc": forms.utc(ended["at_ms"]) if ended else "",
                "account": str(account),
                "party": folder.party(account),
                "address": forms.cell(folder.books.accounts[account]["address"]),
                "amount_sat": str(sat),
                "amount_btc": forms.btc(sat),
                "blocked_sat": "0" if ended else str(sat),
                "screening": folder.screening_of(account, True, upto),
            }
        )
    folder.check_table(name, "rows of blocked property", rows)


def travel_rule(folder):
    """Each payment that stayed, to somebody who is known, with its amount."""
    name = "travel_rule.json"
    if name not in folder.files:
        return
    stayed = {}
    for entry in folder.entries:
        for record in entry.records:
            if record.is_back():
                stayed.pop(record.delivery, None)
            else:
                stayed[record.delivery] = (record.seq, entry.at_ms, record)
    expected = [
        [record.delivery, forms.utc(at_ms), record.sat]
        for _, at_ms, record in sorted(stayed.values(), key=lambda payment: payment[0])
        if record.account in folder.owners
    ]
    said = json.loads((folder.path / name).read_text("utf-8"))
    told = [[it["output"], it["time"], it["amount_sat"]] for it in said["transfers"]]
    folder.differences.compare("transfers of the travel rule", folder.where(name), told, expected)


def carf(folder):
    """What each party received in the year, by payouts or by credits as the profile says, if it is valued."""
    for name in folder.files:
        if not name.startswith("carf_"):
            continue
        tree = ElementTree.parse(folder.path / name)
        told = []
        for user in tree.iterfind(".//carf:CryptoUsers", CARF):
            of = lambda element: user.findtext(f".//carf:CryptoTransferIn/carf:{element}", None, CARF)
            told.append((of("NumberofTransactions"), of("Amount"), of("NumberofUnits")))
        by_payouts, by_credits = received(folder, "PAYOUT", "DIRECT"), received(folder, "CREDIT", "REVERSAL")
        expected = by_credits if told == by_credits else by_payouts
        folder.differences.compare("receipts of CARF drafts", folder.where(name), told, expected)


def received(folder, *kinds):
    """Receipts less those taken back, with their worth and their coin, by party. What was sold is no receipt."""
    sums = {}

    def add(account, *parts):
        if account in folder.owners:
            party = sums.setdefault(folder.owners[account], [0, 0, 0])
            party[:] = [sum(pair) for pair in zip(party, parts)]

    for entry in folder.entries:
        for line in entry.lines:
            if line.kind.startswith(kinds):
                value, way = folder.value_of(entry, line), -1 if line.takes_back() else 1
                add(line.account, *([way, way * money(value), way * line.sat] if value else [0, 0, 0]))
    for corrected in folder.corrections:
        was, value = corrected.correction.was, corrected.correction.value
        if not corrected.kind.startswith(kinds) or not corrected.is_of_account():
            continue
        if was is None:
            # It was in no sum of its own year.
            add(corrected.account, *([1, money(value), corrected.sat] if value else [0, 0, 0]))
        elif corrected.correction.difference() is not None:
            add(corrected.account, 0, money(value) - money(was), 0)
    # Less than nothing cannot be told.
    told = [(count, forms.half_up(worth), sat) for _, (count, worth, sat) in sorted(sums.items())]
    told = [sum for sum in told if min(sum) >= 0]
    return [(str(count), forms.decimal(worth, 2), forms.btc(sat)) for count, worth, sat in told]


def money(value):
    """In hundredths, which a draft has whatever the currency has."""
    return Fraction(value["value"]["minor"] * 100, 10 ** forms.decimals_of(value["value"]["currency"]))
