#!/usr/bin/env python3
"""Recounts reports without any code of Adit.

    python3 recount.py DATABASE FOLDER...

DATABASE is the SQLite file of a pool, or better a backup of it; each FOLDER is one that `adit export report` wrote.
From the tables alone (entries, postings, blocks, credits, batches, the register, its journal) what the reports say is
worked out anew, in another language: the hash chains, every row of the register with its lots, every line of every
statement, every value and every correction of one, what was sold and what it had cost, the states of records and lots,
what reconciles, and where a period begins and ends. Python's standard library is enough, 3.9 or later. Nothing is
written.

Prints what was compared, how often, and what was not recounted. Exits 0 if all agrees; 1 if something differs, naming
the first differences; 2 if it cannot be recounted at all.

What it does not know: the country profile (the sender's country, which services count as exports, which venues count,
due days), what is sealed about people, and the chain itself. That a transaction is in a block is the node's to say
(`adit export verify`).
"""

import sys

sys.dont_write_bytecode = True

import argparse
import sqlite3
from pathlib import Path

import chains
import tables
from books import Books, Unreadable
from differences import Differences
from reports import Reports

SHOWN = 20


def main():
    about, _, _ = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("database", type=Path, help="the SQLite file of a pool, or a backup of it")
    parser.add_argument("folder", type=Path, nargs="*", help="a folder that `adit export report` wrote")
    chosen = parser.parse_args()
    differences = Differences()
    try:
        books = read(chosen.database, differences)
        for folder in chosen.folder:
            Reports(folder, books, differences).recount()
    except Exception as error:
        # Whatever was changed by hand may be beyond reading: what differs up to there is known all the same.
        tell(differences, "what came first")
        print(f"the rest cannot be recounted: {type(error).__name__}: {error}", file=sys.stderr)
        return 1 if differences.found else 2
    tell(differences, "everything")
    return 1 if differences.found else 0


def read(database, differences):
    """Reads the database, as of one moment, and recounts what stands in it."""
    if not database.is_file():
        raise Unreadable(f"{database}: there is no such file")
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        chains.recount(connection, differences)
        books = Books(connection, differences)
        tables.recount(books)
        return books
    finally:
        connection.close()


def tell(differences, what_agrees):
    for what, times in sorted(differences.counted.items()):
        print(f"{times:8} comparisons of {what}")
    for what in sorted(differences.left_out):
        print(f"not recounted: {what}")
    if not differences.found:
        print(f"{what_agrees} agrees")
        return
    print(f"{len(differences.found)} differences:")
    for difference in differences.found[:SHOWN]:
        print(f"  {difference}")
    if len(differences.found) > SHOWN:
        print(f"  and {len(differences.found) - SHOWN} more")


if __name__ == "__main__":
    sys.exit(main())
