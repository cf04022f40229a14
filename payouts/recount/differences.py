"""What was compared, how often, and what differs."""

from collections import Counter


class Differences:
    def __init__(self):
        self.found = []
        self.counted = Counter()
        self.left_out = set()

    def compare(self, what, where, said, recounted):
        """Counts a comparison of its kind; notes it if both sides differ."""
        self.counted[what] += 1
        if said != recounted:
            self.found.append(f"{where}: says {said!r}, recounted {recounted!r}")

    def require(self, what, where, holds, fault):
        """Counts something that must hold; notes the fault if it does not."""
        self.counted[what] += 1
        if not holds:
            self.found.append(f"{where}: {fault}")
