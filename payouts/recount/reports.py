"""The files of one folder of reports, each line of them put together anew."""

import notices
import reconciliation
import register
import statements
from folder import Folder

# What files are called that are recounted, and those that are not reports of figures.
KNOWN = ("register_", "export_sales_", "statement_", "carf_", "screening_log", "blocked_property", "travel_rule")
KNOWN += ("reconciliation", "schema")


class Reports(Folder):
    """The reports of a folder."""

    def recount(self):
        self.check_files()
        self.check_head()
        self.read_journal()
        self.check_declared()
        self.replay()
        name = f"register_{self.label}.csv"
        if self.has(name, "the register"):
            self.check_table(name, "rows of registers", register.rows(self))
        self.check_table(f"register_lots_{self.label}.csv", "rows of lots", register.lot_rows(self))
        name = f"export_sales_{self.label}.csv"
        if self.has(name, "the sales"):
            self.check_table(name, "rows of sales", self.selling.rows())
        statements.check(self)
        reconciliation.check(self)
        notices.screening_log(self)
        notices.blocked_property(self)
        notices.travel_rule(self)
        notices.carf(self)
        for name in self.files:
            if not name.startswith(KNOWN):
                self.differences.left_out.add(f"what {name} says, but for its hash")
