"""What must be equal to the satoshi: every equality, with each of its figures from the books."""

import json

from books import SPLIT_SIGNS
from folder import STATEMENT_ORDER
from tables import spent_and_paid


def check(folder):
    name = "reconciliation.json"
    if not folder.has(name, "the reconciliation"):
        return
    said = json.loads((folder.path / name).read_text("utf-8"))
    compare, told, is_whole = folder.differences.compare, {}, True
    for equality in said["equalities"]:
        sides = [[(it["name"], it["sat"]) for it in equality[side]] for side in ("left_terms", "right_terms")]
        key = (equality["name"], equality["scope"])
        told.setdefault(key, []).append([equality["relation"], *sides])
        sums = [sum(sat for _, sat in side) for side in sides]
        where = f"{folder.where(name)}: {equality['name']} ({equality['scope']})"
        compare("sums of reconciliations", where, [equality["left"], equality["right"]], sums)
        difference = sums[0] - sums[1] if equality["relation"] == "=" else max(sums[0] - sums[1], 0)
        compare("sums of reconciliations", f"{where}: difference", equality["difference"], difference)
        folder.differences.require(
            "equalities of reconciliations", where, difference == 0, f"{sums[0]} and {sums[1]} sat"
        )
        is_whole = is_whole and difference == 0
    compare("equalities of reconciliations", f"{folder.where(name)}: reconciled", said["reconciled"], is_whole)
    expected = {}
    for key, *equality in equalities(folder):
        expected.setdefault(key, []).append(equality)
    for key in sorted(expected.keys() | told.keys()):
        where = f"{folder.where(name)}: {key[0]} ({key[1]})"
        compare("figures of reconciliations", where, told.get(key), expected.get(key))
    if "sale_obligation" in said:
        folder.selling.obligation(said["sale_obligation"])


def equalities(folder):
    for entry in folder.entries:
        if entry.kind in SPLIT_SIGNS:
            block = folder.books.block(entry, entry.subject())
            state = "" if entry.kind == "block_found" else f" {entry.kind}"
            credits = sum(credit["sat"] for credit in folder.books.credits.get(block["hash"], []))
            fee, reserve = block["fee_sat"], block["reserve_sat"]
            yield (
                ("coinbase = fee + credits + remainder", f"{block['hash']}{state}"),
                "=",
                [("coinbase", block["value_sat"])],
                [("fee", fee), ("credits", credits), ("remainder", reserve)],
            )
    statements = folder.statements()
    figures = {f"account {account}": balance(folder, account, lines) for account, lines in statements.items()}
    every = [[sum(column) for column in zip(*sides)] for sides in zip(*figures.values())]
    figures["all"] = every or [[0] * 5, [0] * 3]
    for scope, (left, right) in figures.items():
        yield (
            ("opening + credits - reversals - payouts - network fees = payable + held + blocked", scope),
            "=",
            list(zip(("opening", "credits", "reversals", "payouts", "network fees"), left)),
            list(zip(("payable", "held", "blocked"), right)),
        )
    yield from of_the_register(folder)
    for entry in folder.entries:
        if entry.kind == "confirmed":
            spent, paid, fee, change = spent_and_paid(folder.books, entry.batch, entry.subject())
            yield (
                ("outputs on the chain = payouts + network fee + change", entry.subject()),
                "=",
                [("outputs on the chain", spent)],
                [("payouts", paid), ("network fee", fee), ("change", change)],
            )


def of_the_register(folder):
    """Lots, what statements and sales say, and the register; and that no more was sold than there was."""
    sign = lambda record: -1 if record.is_back() else 1
    lots = [("lots", sum(sign(record) * lot.sat for record in folder.records for lot in record.lots))]
    register = [("movements in the register", sum(record.movement() for record in folder.records))]
    lines = [line for entry in folder.entries for line in entry.lines if line.kind.startswith("PAYOUT")]
    payouts = -sum(line.movement() for line in lines)
    sold = sum(record.movement() for record, _, _, _ in folder.selling.sold)
    told = [("payouts in statements", payouts), ("sales", sold)]
    yield ("sum of lots = sum of statements and sales", "all"), "=", lots, told
    yield ("sum of statements and sales = register", "all"), "=", told, register
    available = [("available lots", max(folder.selling.available_sat, 0))]
    yield ("sales <= available lots", "all"), "<=", [("sales", sold)], available


def balance(folder, account, lines):
    """The figures of an account's balance, with their signs: what changed it, and what it consists of."""
    of = lambda *kinds: sum(line.movement() for _, line in lines if line.kind in kinds)
    credits, reversals, fees, payouts = [of(*kinds) for kinds in STATEMENT_ORDER]
    kept = {section: sat for section, sat, _, _ in folder.set_aside(account)}
    left = [folder.opening.get(account, 0), credits, reversals, payouts, fees]
    return left, [folder.payable(account), kept.get("HELD", 0), kept.get("BLOCKED", 0)]
