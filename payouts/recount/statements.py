"""Statements of accounts: every line of the tables, and every total of the JSON files."""

import json
from collections import defaultdict

import forms
from folder import STATEMENT_ORDER

# The sign with which a line's value counts; lines of other kinds have none.
VALUED_LINES = {
    "CREDIT": 1,
    "REVERSAL": -1,
    "PAYOUT": -1,
    "PAYOUT_REVERSED": 1,
    "DIRECT_PAYMENT": -1,
    "DIRECT_PAYMENT_REVERSED": 1,
}


def check(folder):
    statements = folder.statements()
    listed = {name for name in folder.files if name.startswith("statement_")}
    if statements and not listed:
        folder.differences.left_out.add(f"the statements of {folder.path.name}, which are not in it")
        return
    expected = set()
    for account, lines in statements.items():
        name = f"statement_{forms.file_part(folder.books.accounts[account]['address'])}_{folder.label}"
        expected |= {f"{name}.{kind}" for kind in ("csv", "json", "html")}
        folder.check_table(f"{name}.csv", "lines of statements", rows(folder, account, lines))
        check_json(folder, f"{name}.json", account, lines)
    folder.differences.compare("sets of statements", folder.path.name, sorted(listed), sorted(expected))


def corrections(folder, account):
    return [it for it in folder.corrections if it.account == account and it.is_of_account()]


def rows(folder, account, lines):
    head = {
        "period": forms.cell(folder.label),
        "account": str(account),
        "miner": forms.cell(folder.books.accounts[account]["address"]),
        "party": folder.party(account),
    }
    rows, balance = [], folder.opening.get(account, 0)

    def row(section, at_ms=None, value=None, movement=lambda worth: None, **cells):
        cells = {name: "" if cell is None else str(cell) for name, cell in cells.items()}
        times = {"time_utc": "" if at_ms is None else forms.utc(at_ms)}
        times["time_local"] = "" if at_ms is None else folder.zone.local(at_ms)
        names = "block_height block_hash reference detail movement_sat movement_btc balance_sat balance_btc".split()
        blank = dict.fromkeys(names + ["part_sat", "pool_fee_sat"], "")
        can_be_valued = section in VALUED_LINES or section == "CLOSING" or section.endswith("_CORRECTED")
        valued = folder.value_cells(value, movement, can_be_valued)
        rows.append({**head, "section": section, **times, **blank, **valued, **cells})

    row("OPENING", balance_sat=balance, balance_btc=forms.btc(balance))
    for entry, line in lines:
        balance += line.movement()
        sign = VALUED_LINES.get(line.kind)
        row(
            line.kind,
            entry.at_ms,
            folder.value_of(entry, line),
            lambda worth: sign and sign * worth,
            movement_sat=line.movement(),
            movement_btc=forms.btc(line.movement()),
            balance_sat=balance,
            balance_btc=forms.btc(balance),
            **line_cells(line, head["miner"]),
        )
    for corrected in corrections(folder, account):
        difference, sign = corrected.correction.difference(), VALUED_LINES[corrected.kind]
        row(
            corrected.section(),
            corrected.correction.at_ms,
            corrected.correction.value,
            lambda _: None if difference is None else sign * difference,
            reference=forms.cell(corrected.reference),
            detail=forms.cell(corrected.detail()),
            movement_sat=0,
            movement_btc=forms.btc(0),
            balance_sat=balance,
            balance_btc=forms.btc(balance),
        )
    row("PAYABLE", part_sat=folder.payable(account))
    parts = folder.payable(account)
    for section, sat, begun, screening in folder.set_aside(account):
        parts += sat
        row(section, begun["at_ms"], part_sat=sat, reference=screening, detail=forms.cell(begun["reason"]))
    row("CLOSING", balance_sat=balance, balance_btc=forms.btc(balance))
    where = f"{folder.path.name}: account {account}"
    folder.differences.compare("closing balances and their parts", where, balance, parts)
    return rows


def line_cells(line, miner):
    cells = {"reference": forms.cell(line.reference)}
    if line.record is not None:
        cells |= {"block_height": line.record.block_height, "block_hash": line.record.block_hash}
        cells["detail"] = forms.cell(line.record.address)
    elif line.block is not None:
        cells |= {"block_height": line.block["height"], "block_hash": line.block["hash"]}
        if line.kind.startswith("DIRECT"):
            cells["detail"] = miner
    if line.kind in ("CREDIT", "REVERSAL"):
        cells["pool_fee_sat"] = line.fee if line.kind == "CREDIT" else -line.fee
    return cells


def check_json(folder, name, account, lines):
    compare, where = folder.differences.compare, folder.where(name)
    if name not in folder.files:
        folder.differences.require("statements as JSON", where, False, "it is not in the manifest")
        return
    said = json.loads((folder.path / name).read_text("utf-8"))
    of = lambda *kinds: [(entry, line) for entry, line in lines if line.kind in kinds]
    total = lambda *kinds: sum(line.sat for _, line in of(*kinds))
    for key, kinds in zip(("credits", "reversals", "network_fees", "payouts"), STATEMENT_ORDER):
        told = [line["amount"]["sat"] for line in said[key]]
        compare("statements as JSON", f"{where}: {key}", told, [line.sat for _, line in of(*kinds)])
    told = [correction_told(correction) for correction in said["corrections"]]
    expected = [correction_of(folder, corrected) for corrected in corrections(folder, account)]
    compare("statements as JSON", f"{where}: corrections", told, expected)
    opening = folder.opening.get(account, 0)
    kept = {section: sat for section, sat, _, _ in folder.set_aside(account)}
    expected = {
        "opening": opening,
        "credits": total("CREDIT"),
        "pool_fees": sum(line.fee for _, line in of("CREDIT")) - sum(line.fee for _, line in of("REVERSAL")),
        "reversals": total("REVERSAL"),
        "payouts": total("PAYOUT", "DIRECT_PAYMENT"),
        "payouts_reversed": total("PAYOUT_REVERSED", "DIRECT_PAYMENT_REVERSED"),
        "network_fees": total("NETWORK_FEE") - total("NETWORK_FEE_RETURNED"),
        "closing": opening + sum(line.movement() for _, line in lines),
        "payable": folder.payable(account),
        "held": kept.get("HELD", 0),
        "blocked": kept.get("BLOCKED", 0),
    }
    for key, sat in expected.items():
        told = (said["totals"][key]["sat"], said["totals"][key]["btc"])
        compare("statements as JSON", f"{where}: {key}", told, (sat, forms.btc(sat)))
    sums = {
        "credits_value": ("CREDIT",),
        "reversals_value": ("REVERSAL",),
        "payouts_value": ("PAYOUT", "DIRECT_PAYMENT"),
        "payouts_reversed_value": ("PAYOUT_REVERSED", "DIRECT_PAYMENT_REVERSED"),
    }
    for key, kinds in sums.items():
        values = [folder.value_of(entry, line) for entry, line in of(*kinds)]
        told = {it["currency"]: it["value"] for it in said["totals"][key]["sums"]}
        compare("values of statements", f"{where}: {key}", told, sums_of(values))
        unvalued = sum(value is None for value in values)
        compare("values of statements", f"{where}: {key}", said["totals"][key]["unvalued_lines"], unvalued)


def correction_told(said):
    names = ("section", "reference", "journal_row", "difference")
    values = [said[name]["value"] for name in ("was", "valuation")]
    return [said[name] for name in names] + values + [said["amount"]["sat"], said["time"], said["original_time"]]


def correction_of(folder, corrected):
    correction = corrected.correction
    difference = correction.difference()
    if difference is not None:
        difference = forms.decimal(difference, forms.decimals_of(correction.value["value"]["currency"]))
    values = [told_value(value) for value in (correction.was, correction.value)]
    times = [{"utc": forms.utc(ms), "local": folder.zone.local(ms)} for ms in (correction.at_ms, corrected.at_ms)]
    named = [corrected.section(), corrected.reference, corrected.journal_row(), difference]
    return named + values + [corrected.sat] + times


def told_value(value):
    if value is None:
        return "UNVALUED"
    return forms.decimal(value["value"]["minor"], forms.decimals_of(value["value"]["currency"]))


def sums_of(values):
    sums = defaultdict(int)
    for value in values:
        if value is not None:
            sums[value["value"]["currency"]] += value["value"]["minor"]
    return {currency: forms.decimal(minor, forms.decimals_of(currency)) for currency, minor in sums.items()}
