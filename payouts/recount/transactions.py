"""Transactions and unsigned transactions (BIP 174), as far as they tell what is spent and paid."""

import hashlib
from dataclasses import dataclass


@dataclass
class Output:
    sat: int
    script: bytes


@dataclass
class Transaction:
    txid: str
    # (txid, vout) of each.
    inputs: list
    outputs: list


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        taken = self.data[self.at : self.at + size]
        if len(taken) != size:
            raise ValueError("a transaction ends early")
        self.at += size
        return taken

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def compact(self):
        first = self.number(1)
        return first if first < 0xFD else self.number({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])

    def text(self):
        return self.take(self.compact())

    def output(self):
        return Output(self.number(8), self.text())


def transaction(data):
    """Reads a transaction, signed or not. Its id is the hash of all but the witnesses (BIP 141)."""
    read = Bytes(data)
    version = read.take(4)
    has_witness = read.data[read.at : read.at + 2] == b"\0\1"
    if has_witness:
        read.take(2)
    body = read.at
    inputs = []
    for _ in range(read.compact()):
        txid, vout = read.take(32)[::-1].hex(), read.number(4)
        read.text()
        read.take(4)
        inputs.append((txid, vout))
    outputs = [read.output() for _ in range(read.compact())]
    stripped = version + data[body : read.at]
    if has_witness:
        for _ in inputs:
            for _ in range(read.compact()):
                read.text()
    stripped += read.take(4)
    if read.at != len(data):
        raise ValueError("a transaction has more bytes than it says")
    txid = hashlib.sha256(hashlib.sha256(stripped).digest()).digest()[::-1].hex()
    return Transaction(txid, inputs, outputs)


def pairs(read):
    """One map of a PSBT: keys with their values, up to the byte that ends it."""
    found = {}
    while size := read.compact():
        key = read.take(size)
        found[key] = read.text()
    return found


def unsigned(data):
    """Reads a PSBT: the transaction, and what each input spends, in satoshis."""
    read = Bytes(data)
    if read.take(5) != b"psbt\xff":
        raise ValueError("an unsigned transaction is none")
    tx = transaction(pairs(read)[b"\0"])
    spent = []
    for _, vout in tx.inputs:
        known = pairs(read)
        if b"\1" in known:
            spent.append(Bytes(known[b"\1"]).output().sat)
        else:
            spent.append(transaction(known[b"\0"]).outputs[vout].sat)
    return tx, spent
