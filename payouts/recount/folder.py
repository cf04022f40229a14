"""One folder of reports, with what the books said when they were made; and how its tables are compared."""

import csv
import hashlib
import io
import json
from collections import defaultdict

import forms
from books import Owed, post
from corrections import Corrections
from sales import Sales, Selling
from states import States
from worth import Worth, compare_marks, exchange, name_of

MANIFEST = "manifest.json"
SCHEMA_VERSION = 2
UNVALUED = "UNVALUED"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The order in which a statement tells movements.
STATEMENT_ORDER = [
    ("CREDIT",),
    ("REVERSAL",),
    ("NETWORK_FEE", "NETWORK_FEE_RETURNED"),
    ("PAYOUT", "PAYOUT_REVERSED", "DIRECT_PAYMENT", "DIRECT_PAYMENT_REVERSED"),
]
SCREENING_KINDS = {"SCREENED", "SCREENED_ALL", "SCREENED_BATCH", "LISTS_LOADED", "LIST_ACCEPTED", "REVIEWED"}


class Folder:
    """A folder of reports, and what the books said when they were made."""

    def __init__(self, path, books, differences):
        self.path, self.books, self.differences = path, books, differences
        self.manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        self.zone = forms.Zone(self.manifest["period"]["zone"])
        self.label = self.manifest["period"]["label"]
        first, after = forms.days_of(self.label)
        self.span = (self.zone.start_of(first), self.zone.start_of(after))
        self.files = [file["name"] for file in self.manifest["files"]]
        # Where the pool says that it is resident: what the profile says is not recounted.
        self.residencies = set()

    def where(self, name):
        return f"{self.path.name}/{name}"

    def has(self, name, what):
        if name not in self.files:
            self.differences.left_out.add(f"{what} of {self.path.name}, which is not in it")
        return name in self.files

    def check_files(self):
        """Every file is there, is what it was, and no other is."""
        for file in self.manifest["files"]:
            where, path = self.where(file["name"]), self.path / file["name"]
            if "/" in file["name"] or not path.is_file():
                self.differences.require("files", where, False, "it is missing")
                continue
            data = path.read_bytes()
            self.differences.compare("files", f"{where}: size", file["bytes"], len(data))
            self.differences.compare("files", f"{where}: SHA-256", file["sha256"], hashlib.sha256(data).hexdigest())
        found = {path.name for path in self.path.iterdir()} - {MANIFEST}
        unlisted = sorted(found - set(self.files))
        self.differences.require("folders", self.path.name, not unlisted, f"not in the manifest: {unlisted}")

    def check_head(self):
        """The period begins and ends where its zone says, and the records are those that the reports were made from."""
        compare, where, period = self.differences.compare, self.where(MANIFEST), self.manifest["period"]
        compare("schemas", f"{where}: schema_version", self.manifest["schema_version"], SCHEMA_VERSION)
        for name, ms in zip(("from", "until"), self.span):
            compare("ends of periods", f"{where}: {name}", period[name], self.zone.local(ms))
        compare_marks(self.books, where, self.manifest["as_of"])
        chain_head = self.manifest["as_of"]["register"]["hash"]
        compare("heads of chains", f"{where}: chain_head", self.manifest["chain_head"], chain_head)

    def check_declared(self):
        """What was declared is the files that have its records and its time, and a period as its zone has it."""
        whole = hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()
        for seq, kind, said in self.books.journal:
            if kind != "DECLARED" or said["period"] != self.label or name_of(said["profile"]) != self.profile_name:
                continue
            where = f"journal row {seq}"
            span = (said["from_ms"], said["until_ms"])
            self.differences.compare("declared periods", f"{where}: from, until", span, self.span)
            made = (said["as_of"], forms.utc(said["generated_at_ms"]))
            if made == (self.manifest["as_of"], self.manifest["generated_at"]):
                self.differences.compare("declared files", self.where(MANIFEST), whole, said["manifest_sha256"])

    def read_journal(self):
        """What is on record up to where the journal was read: owners, values, sales, screenings."""
        upto = self.manifest["as_of"]["journal"]["seq"]
        self.profile_name = self.manifest["profile"]
        profile = f"{self.profile_name}/{self.manifest['profile_version']}"
        self.worth, self.sales = Worth(self.books, upto, profile, self.span), Sales(self.books, upto)
        self.owners, self.parties = {}, {}
        self.screened, self.reviewed, self.screened_batches = defaultdict(list), defaultdict(list), defaultdict(list)
        self.screenings = []
        for seq, kind, said in self.books.journal:
            if seq > upto:
                break
            if kind == "ADDRESS_OWNED":
                self.owners[said["account"]] = said["party"]
            elif kind == "PARTY_SET":
                self.parties[said["party"]] = said["residency"]
            elif kind == "SCREENED":
                self.screened[said["account"]].append((seq, said))
            elif kind == "REVIEWED":
                self.reviewed[said["account"]].append((seq, said))
            elif kind == "SCREENED_BATCH":
                self.screened_batches[said["batch"]].append((seq, said))
            if kind in SCREENING_KINDS and self.span[0] <= said["at_ms"] < self.span[1]:
                self.screenings.append((seq, kind, said))
        self.states = States(self)

    def replay(self):
        """Goes through the ledger up to the end of the period, or to where it was read."""
        upto = self.manifest["as_of"]["ledger"]["seq"]
        self.owed, self.entries, self.opening, self.opened_at, self.closed_at = defaultdict(Owed), [], None, 0, 0
        self.selling, corrections = Selling(self), Corrections(self)
        # When each receipt was booked.
        self.booked_at = {}
        for entry in self.books.entries:
            if entry.seq > upto or entry.at_ms >= self.span[1]:
                break
            is_within = entry.at_ms >= self.span[0]
            if is_within and self.opening is None:
                self.open()
            if is_within:
                self.entries.append(entry)
            else:
                self.opened_at = entry.seq
            for key in receipts_of(entry):
                self.booked_at[key] = entry.at_ms
            self.selling.note(entry, is_within)
            corrections.note(entry)
            post(self.owed, entry)
            self.closed_at = entry.seq
        if self.opening is None:
            self.open()
        self.corrections = corrections.finish()
        self.records = [record for entry in self.entries for record in entry.records]
        sequence = self.manifest["sequence"]
        told = sequence and (sequence["first"], sequence["last"])
        found = (self.records[0].seq, self.records[-1].seq) if self.records else None
        self.differences.compare("sequences", self.where(MANIFEST), told, found)

    def open(self):
        self.opening = {account: owed.sum() for account, owed in self.owed.items()}
        self.selling.open()

    def read_table(self, name):
        """Returns the header and the rows of a table, as they stand in it."""
        data = (self.path / name).read_bytes()
        where = self.where(name)
        self.differences.require("tables", where, data.startswith(BYTE_ORDER_MARK), "no byte order mark")
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        rows = []
        for line in lines:
            fits = len(line) == len(header)
            self.differences.require("tables", where, fits, f"a line has {len(line)} cells: {line}")
            rows.append(dict(zip(header, line)))
        return header, rows

    def check_table(self, name, what, expected):
        """Compares every cell that can be recounted; `expected` has cells by column, or what makes them of the row."""
        if name not in self.files:
            self.differences.require(what, self.where(name), False, "it is not in the manifest")
            return
        header, rows = self.read_table(name)
        self.differences.compare(what, f"{self.where(name)}: rows", len(rows), len(expected))
        missing = sorted(set(expected[0]) - set(header)) if expected else []
        self.differences.require(what, self.where(name), not missing, f"it has no columns {missing}")
        unknown = [column for column in header if expected and column not in expected[0]]
        if unknown:
            self.differences.left_out.add(f"of {name.rpartition('_')[0] or name} tables: {', '.join(unknown)}")
        for number, (row, cells) in enumerate(zip(rows, expected), 1):
            where = f"{self.where(name)}, row {number}"
            for column in header:
                if column in cells:
                    cell = cells[column](row) if callable(cells[column]) else cells[column]
                    self.differences.compare(what, f"{where}: {column}", row.get(column), cell)

    def resident(self, country):
        """Notes where the pool is said to be resident: everywhere the same."""
        self.residencies.add(country)
        where = f"{self.path.name}: residencies of the pool"
        self.differences.require("residencies", where, len(self.residencies) == 1, str(sorted(self.residencies)))
        return country

    def party(self, account):
        return str(self.owners[account]) if account in self.owners else ""

    def value_of(self, entry, line):
        """What a line counts as worth: what takes back, takes back what was worth until then."""
        if line.takes_back():
            return self.worth.before(line.value, self.booked_at.get(line.value, entry.at_ms), entry.seq)
        return self.worth.of(line.value, entry.at_ms) if line.value else None

    def value_cells(self, value, movement=lambda worth: worth, can_be_valued=True):
        """The columns that tell a value; `movement` makes of it what the line moves, or nothing."""
        names = "valuation_policy venue pair price_basis price price_time_utc fx_source fx_rate fx_date currency value"
        cells = dict.fromkeys(names.split() + ["value_movement", "price_file_sha256"], "")
        if value is None:
            return {**cells, "value": UNVALUED if can_be_valued else ""}
        series, minor, currency = value["price_of"], value["value"]["minor"], value["value"]["currency"]
        worth = forms.worth(value["amount_sat"], value["price"], exchange(value), currency)
        self.differences.compare("values in reports", f"{self.path.name}: a value", minor, worth)
        decimals, moved = forms.decimals_of(currency), movement(worth)
        fx = value["fx"]
        if fx is not None:
            rate = fx["rate_of"]
            base = rate["base"] if fx["nominal"] == 1 else f"{fx['nominal']} {rate['base']}"
            cells["fx_source"] = forms.cell(f"{rate['source']}: {rate['quote']} for {base}")
            cells["fx_rate"], cells["fx_date"] = fx["rate"], forms.cell(fx["date"])
        return {
            **cells,
            "valuation_policy": forms.cell(value["policy"]),
            "venue": forms.cell(series["venue"]),
            "pair": forms.cell(series["pair"]),
            "price_basis": forms.cell(series["basis"]),
            "price": value["price"],
            "price_time_utc": price_time(value["price_time"]),
            "currency": forms.cell(currency),
            "value": forms.decimal(worth, decimals),
            "value_movement": "" if moved is None else forms.decimal(moved, decimals),
            "price_file_sha256": forms.cell(value["price_file_sha256"]),
        }

    def letting_go(self, record, entry):
        """The screenings that let an output go: those of its payout, and the reviews that had released its receiver."""
        screened = self.screened_batches[entry.batch]
        screened = screened + [(seq, said) for seq, said in self.reviewed[record.account] if said["releases"]]
        return [f"journal:{seq}" for seq in sorted(seq for seq, said in screened if said["ledger_seq"] < entry.seq)]

    def screening_of(self, account, is_blocked, upto):
        found = [
            seq
            for seq, said in self.screened[account]
            if said["ledger_seq"] <= upto and (not is_blocked or said["outcome"] == "BLOCKED")
        ]
        return f"journal:{found[-1]}" if found else ""

    def set_aside(self, account):
        """What is held and what is blocked: (section, satoshis, the act that began it, the screening that says so)."""
        owed = self.owed[account]
        for section, sat in (("HELD", owed.held), ("BLOCKED", owed.blocked)):
            if sat <= 0:
                continue
            begun = [
                act
                for act in self.books.restraints
                if act["entry"] <= self.closed_at
                and (act["account"], act["restraint"], act["act"]) == (account, section.lower(), "begun")
            ]
            yield section, sat, begun[-1], self.screening_of(account, section == "BLOCKED", self.closed_at)

    def payable(self, account):
        """What is not set aside; what is set aside and less than nothing counts against it."""
        owed = self.owed[account]
        return owed.payable + owed.reserved + min(owed.held, 0) + min(owed.blocked, 0)

    def statements(self):
        """The entries and lines of each account that had anything or for which anything was booked."""
        lines = defaultdict(list)
        for entry in self.entries:
            for line in entry.lines:
                lines[line.account].append((entry, line))
        accounts = {account for account, sat in self.opening.items() if sat} | lines.keys()
        accounts |= {account for account, owed in self.owed.items() if not owed.is_nothing()}
        accounts |= {corrected.account for corrected in self.corrections if corrected.is_of_account()}
        ordered = {}
        for account in sorted(accounts):
            groups = [[line for line in lines[account] if line[1].kind in kinds] for kinds in STATEMENT_ORDER]
            ordered[account] = [line for group in groups for line in group]
        return ordered


def receipts_of(entry):
    """What tells the values apart of what is received with an entry."""
    keys = [line.value for line in entry.lines if line.kind in ("CREDIT", "DIRECT_PAYMENT")]
    return keys + [("row", record.seq) for record in entry.records if not record.is_back()]


def price_time(text):
    """A price's time as reports tell it: with milliseconds if it has any."""
    whole, _, part = text.rstrip("Z").partition(".")
    thousandths = part[:3].ljust(3, "0")
    return f"{whole}Z" if thousandths == "000" else f"{whole}.{thousandths}Z"
