"""Sales of the pool's own coin: terms by the journal, deliveries by the register, and what the coin had cost."""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

import forms
from books import FEE, SPLIT_SIGNS, coinbase
from worth import Place

# The steps that may follow each step of a sale. What is delivered stands in the register.
FOLLOWING = {
    "REQUESTED": ("QUOTED", "CANCELLED"),
    "QUOTED": ("ACCEPTED", "EXPIRED", "CANCELLED"),
    "ACCEPTED": ("SETTLED", "CANCELLED"),
    "SETTLED": ("SETTLED", "DECLARED"),
    "DECLARED": ("SETTLED",),
}
SALE_STATES = {"REQUESTED": "DRAFT", "ACCEPTED": "CONTRACTED"}


@dataclass
class Sale:
    name: str
    sat: int
    # Each step after the request, with its place.
    steps: list = field(default_factory=list)
    # Payouts that were to deliver it, with the lots that they take.
    deliveries: list = field(default_factory=list)

    def step(self, event):
        """The last such step; nothing if there is none."""
        return next((step["step"] for _, step in reversed(self.steps) if step["event"] == event), None)

    def state(self, is_delivered):
        """How it stands: without its coin delivered, as before its money came in."""
        told = [step["event"] for _, step in self.steps]
        if not is_delivered and "SETTLED" in told:
            told = told[: told.index("SETTLED")]
        if told and is_delivered and told[-1] == "ACCEPTED":
            return "DELIVERED"
        return SALE_STATES.get(told[-1], told[-1]) if told else "DRAFT"

    def gross(self):
        """What it comes to, in minor units of the fee's currency."""
        quote = self.step("QUOTED")
        return forms.worth(self.sat, quote["price"], Fraction(1), quote["fee"]["currency"])

    def net(self):
        return self.gross() - self.step("QUOTED")["fee"]["minor"]


class Sales:
    """All sales on record up to a row of the journal."""

    def __init__(self, books, upto=None):
        self.by_name, self.by_batch = {}, {}
        for seq, kind, said in books.journal:
            if upto is not None and seq > upto:
                break
            if kind == "SALE" and said["step"]["event"] == "REQUESTED":
                request = said["step"]
                self.by_name[request["sale"]] = Sale(request["sale"], request["amount_sat"])
            elif kind == "SALE":
                place = Place(seq, said["ledger_seq"], said["at_ms"])
                self.by_name[said["step"]["sale"]].steps.append((place, said["step"]))
            elif kind == "SALE_DELIVERING":
                sale = self.by_name[said["sale"]]
                sale.deliveries.append((said["batch"], said["lots"]))
                self.by_batch[said["batch"]] = sale


def recount(books):
    """Sales take their steps in order, and what payouts took of the pool's own coin is what sales on record are of."""
    sales, compare, require = Sales(books), books.differences.compare, books.differences.require
    for sale in sales.by_name.values():
        recount_steps(sale, require)
    sold = {batch: lots for (batch, _), lots in books.batch_lots.items() if any(lot["of_fee"] for lot in lots)}
    compare("payouts of sales", "payouts of the pool's own coin", sorted(sold), sorted(sales.by_batch))
    for batch, sale in sales.by_batch.items():
        where = f"sale {sale.name}, payout {batch}"
        outputs = [(output["sat"], output["fee_sat"]) for output in books.outputs.get(batch, [])]
        compare("payouts of sales", f"{where}: outputs", outputs, [(sale.sat, 0)])
        named = next(lots for of, lots in sale.deliveries if of == batch)
        named = [(lot["lot"], lot["sat"]) for lot in named]
        taken = [(coinbase(lot), lot["sat"]) for lot in sold.get(batch, [])]
        compare("payouts of sales", f"{where}: lots", taken, named)
    payouts = {record.seq: entry.batch for entry in books.entries for record in entry.records}
    for record in books.records:
        of = {lot.credit == FEE for lot in record.lots}
        where, sale = f"register row {record.seq}", sales.by_batch.get(payouts.get(record.seq))
        is_sold = sale is not None
        require("records of sales", where, of == {is_sold}, "its lots and the sales on record are not of a kind")
        if is_sold:
            told = (record.sat, record.address)
            known = (sale.sat, sale.step("QUOTED")["address"])
            compare("records of sales", f"{where}: amount, address", told, known)


def recount_steps(sale, require):
    before = "REQUESTED"
    for place, step in sale.steps:
        where, event = f"journal row {place.row}", step["event"]
        require("steps of sales", where, event in FOLLOWING.get(before, ()), f"{event} does not follow {before}")
        quote = sale.step("QUOTED")
        if event == "QUOTED":
            is_fair = step["step"]["at_ms"] < quote["expires_ms"] and 0 <= quote["fee"]["minor"] <= sale.gross()
            require("steps of sales", where, is_fair, "the offer never held, or costs more than it brings")
        elif event == "ACCEPTED":
            holds = step["step"]["at_ms"] < quote["expires_ms"]
            require("steps of sales", where, holds, f"the offer held until {quote['expires_ms']} ms")
        elif event == "EXPIRED":
            require("steps of sales", where, step["at_ms"] >= quote["expires_ms"], "the offer still held")
        elif event == "SETTLED":
            received, due = step["step"]["received"], sale.net()
            fits = received["currency"] == quote["fee"]["currency"] and 0 < received["minor"] <= due
            require("steps of sales", where, fits, f"{received['minor']} came in of {due}")
        before = event


class Selling:
    """What was sold in the period of a folder, and what the coin had cost."""

    def __init__(self, folder):
        self.folder = folder
        # What the fee has, what of it is sold and not delivered, what there was to sell, what was mined.
        self.fee_sat = self.selling_sat = self.available_sat = self.mined_sat = 0
        # The last entry that split each block, and what is left of each coin: (satoshis, cost).
        self.splits, self.left, self.taken = {}, {}, {}
        self.by_venue, self.sold = defaultdict(int), []

    def open(self):
        self.available_sat = self.stock()

    def stock(self):
        """What there is to deliver. Coin that was sold and has left the chain since is a loss, and no stock."""
        return max(self.fee_sat, 0) + self.selling_sat

    def note(self, entry, is_within):
        before = self.stock()
        self.fee_sat -= entry.posted(FEE)
        self.selling_sat += entry.selling
        if SPLIT_SIGNS.get(entry.kind) == 1:
            self.splits[entry.subject()] = entry
        if is_within:
            # Whatever changes its own coin is more to sell, or less; but for sales, until they are given up.
            if not entry.selling or (entry.kind == "reversed" and not entry.records):
                self.available_sat += self.stock() - before
            if entry.kind in SPLIT_SIGNS:
                self.mined_sat -= entry.posted("fee_immature")
        for record in entry.records:
            if record.is_sold():
                cost = self.give_back(record) if record.is_back() else self.take(record)
                sale = self.folder.sales.by_batch[entry.batch]
                if is_within:
                    venue = (sale.step("QUOTED") or {}).get("venue")
                    self.by_venue[venue] += record.movement()
                    self.sold.append((record, entry, sale, cost))

    def take(self, record):
        """What the lots of a delivery cost, each its part of its coin's cost; nothing if one is not valued."""
        costs, self.taken[record.delivery] = [], []
        for lot in record.lots:
            left, cost = self.left.get(lot.coinbase) or self.coin(lot)
            part = None
            if left is not None:
                where = f"{self.folder.path.name}: register row {record.seq}"
                fault = f"{lot.sat} sat of {lot.coinbase} were sold, which has {left}"
                self.folder.differences.require("coins that were sold", where, lot.sat <= left, fault)
                if cost is not None:
                    part = forms.half_up(Fraction(cost * lot.sat, left))
                    cost -= part
                left -= lot.sat
            self.left[lot.coinbase] = (left, cost)
            self.taken[record.delivery].append((lot.coinbase, lot.sat, part))
            costs.append(part)
        return None if None in costs else sum(costs)

    def give_back(self, record):
        taken = self.taken.pop(record.delivery)
        for coin, sat, part in taken:
            left, cost = self.left[coin]
            whole = None if part is None or cost is None else cost + part
            self.left[coin] = (left if left is None else left + sat, whole)
        costs = [part for _, _, part in taken]
        return None if None in costs else sum(costs)

    def coin(self, lot):
        """The pool's part of a block, with what it was worth at receipt. Of other coins nothing is on record."""
        block, split = self.folder.books.blocks.get(lot.block_hash), self.splits.get(lot.block_hash)
        if block is None or coinbase(block) != lot.coinbase or split is None:
            return None, None
        value = self.folder.worth.before(("fee", split.seq), split.at_ms, None)
        if value is not None:
            self.currency = value["value"]["currency"]
        return block["fee_sat"], None if value is None else value["value"]["minor"]

    def rows(self):
        return [self.row(*sold) for sold in self.sold]

    def row(self, record, entry, sale, cost):
        folder, sign = self.folder, -1 if record.is_back() else 1
        quote, accepted = sale.step("QUOTED"), sale.step("ACCEPTED")
        settled, declared = sale.step("SETTLED"), sale.step("DECLARED")
        currency = quote["fee"]["currency"]
        money = lambda minor: forms.decimal(sign * minor, forms.decimals_of(currency))
        if cost is not None and self.currency != currency:
            cost = None
        residency = folder.parties.get(folder.owners.get(record.account), "")
        is_export = lambda row: folder.resident(row["seller_residency"]) != residency
        settled_at = settled["settled_ms"] if settled else None
        state = folder.states.of(record) or ("REVERSED" if record.is_back() else sale.state(True))
        return {
            "sequence": str(record.seq),
            "sale": forms.cell(sale.name),
            "state": state,
            "delivery": forms.cell(record.delivery),
            "delivered_utc": forms.utc(entry.at_ms),
            "delivered_local": folder.zone.local(entry.at_ms),
            "basis": lambda row: "SALE_TO_NON_RESIDENT" if is_export(row) else "SALE_TO_RESIDENT",
            "seller": "pool",
            "buyer": folder.party(record.account),
            "buyer_residency": residency,
            "address": forms.cell(record.address),
            "amount_sat": str(record.sat),
            "movement_sat": str(record.movement()),
            "amount_btc": forms.btc(record.sat),
            "export_sat": lambda row: str(record.movement() if is_export(row) else 0),
            "lot_count": str(len(record.lots)),
            "lots": forms.cell(forms.lots_cell(record.lots)),
            "contract_number": forms.cell(accepted["contract"]),
            "contract_date": folder.zone.local(accepted["at_ms"])[:10],
            "quote": forms.cell(quote["quote"]),
            "venue": forms.cell(quote.get("venue") or ""),
            "price": quote["price"],
            "currency": forms.cell(currency),
            "gross": money(sale.gross()),
            "fee": money(quote["fee"]["minor"]),
            "net": money(sale.net()),
            "cost": "UNVALUED" if cost is None else money(cost),
            "gain": "" if cost is None else money(sale.net() - cost),
            "received": money(settled["received"]["minor"]) if settled else "",
            "bank_reference": forms.cell(settled["bank_reference"]) if settled else "",
            "settled_utc": forms.utc(settled_at) if settled else "",
            "settled_local": folder.zone.local(settled_at) if settled else "",
            "declaration": forms.cell(declared["declaration"]) if declared else "",
            "authority": forms.cell(declared["authority"]) if declared else "",
            "screenings": forms.cell(" | ".join(folder.letting_go(record, entry))),
        }

    def obligation(self, said):
        """Compares how far coin must be sold with what was mined and sold; the profile has the share and the venues."""
        compare, where = self.folder.differences.compare, self.folder.where("reconciliation.json")
        sold = [max(sat, 0) for sat in self.by_venue.values()]
        compare("obligations to sell", f"{where}: mined", said["mined_sat"], max(self.mined_sat, 0))
        told = said["sold_eligible_sat"] + said["sold_elsewhere_sat"]
        compare("obligations to sell", f"{where}: sold", told, sum(sold))
        possible = {0}
        for sat in sold:
            possible |= {sat + others for others in possible}
        is_sum = said["sold_eligible_sat"] in possible
        require = self.folder.differences.require
        require("obligations to sell", where, is_sum, "what was sold at eligible venues is not what was sold at venues")
        short = max(said["required_sat"] - said["sold_eligible_sat"], 0)
        compare("obligations to sell", f"{where}: short", said["shortfall_sat"], short)
