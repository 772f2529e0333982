"""Planted bugs: shows that the judge of a storm says no, by storms over code with a known fault.

`python -m testing.storm.planted [NAME...]` copies the code, plants each bug in a copy, runs a
storm there, and lets the checker of this folder judge. It ends with 1 if a bug was not caught.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from testing.programs import ROOT
from testing.storm.plan import plan_of

BROKER = "redis"
SECONDS = 35
_WITHIN_S = 240
_CHECKER = ROOT / "tools" / "check_history.py"


@dataclass(frozen=True)
class Bug:
    """A fault in the code: pieces of text that are replaced, each of which occurs once."""

    changes: tuple[tuple[str, str, str], ...]
    """(file, the text, what takes its place)"""
    shows: str
    """A part of the checker's message."""
    fault: str = "worker killed"
    """What must be broken for it to show, early in the storm."""

    @property
    def seed(self) -> int:
        """The first seed whose plan has the fault in its first half."""
        return next(
            seed
            for seed in itertools.count(1)
            for each in plan_of(seed, SECONDS, BROKER).faults
            if each.name == self.fault and each.at_s < SECONDS / 2
        )


_MOVEMENTS = "ledger/movements.py"
BUGS = {
    "a double credit": Bug(
        (
            (
                _MOVEMENTS,
                "moving.c.amount * getattr(effect, name)",
                "moving.c.amount * getattr(effect, name) * (1 + (effect.incoming > 0))",
            ),
        ),
        shows="do not add up to zero",
    ),
    "a hold that is never given back": Bug(
        ((_MOVEMENTS, "balance=-1, reserved=-1        )", "balance=-1                     )"),),
        shows="not what the committed transfers say",
    ),
    "a rollback that does not refund what was credited": Bug(
        (("ledger/steps.py", '("refund", ("credited", "deducted"))', '("refund", ("deducted",))'),),
        shows="not what the committed transfers say",
        fault="destination frozen",
    ),
    "a step that does not look whether a transfer has failed": Bug(
        (
            (
                _MOVEMENTS,
                "table.state.in_(self.states) & failed",
                "table.state.in_(self.states) & (failed if self.failed else literal(True))",
            ),
        ),
        shows="not what the committed transfers say",
        fault="destination frozen",
    ),
    "a claim that overlooks some": Bug(
        (
            (
                "ledger/reserve.py",
                "_u.batch_id.is_(None) & _u.waits_for.is_(None)\n\n",
                "_u.batch_id.is_(None) & _u.waits_for.is_(None) & (_u.seq % 50 != 49)\n\n",
            ),
        ),
        shows="acknowledged, and lost",
    ),
    "an acknowledged buffer entry that is dropped": Bug(
        (
            (
                "tasks/drain.py",
                "_set_aside(strange) + _replay(requests)",
                "_set_aside(strange) + _replay(requests[1:])",
            ),
        ),
        shows="acknowledged, and lost",
        fault="database killed",
    ),
    "an unsigned buffer entry that is believed": Bug(
        (
            (
                "ledger/buffer/entries.py",
                "if not seal.is_genuine(_marked(format_number, rest), mark):",
                "if not mark:",
            ),
        ),
        shows="committed, and nobody asked",
        fault="broker forged",
    ),
    "an idempotency key that is compared without its client": Bug(
        (
            (
                "ledger/ids.py",
                "return uuid5(client_id, idempotency_key)",
                "return uuid5(UUID(int=0), idempotency_key)",
            ),
        ),
        shows="refused as reused, and used for one thing only",
    ),
    "a stale read that is served as current": Bug(
        (
            (
                "api/routes/transfers.py",
                "def _read_stored(transfer_id: UUID)",
                "@__import__('functools').cache\ndef _read_stored(transfer_id: UUID)",
            ),
        ),
        shows=" after [",
        fault="wallet locked",
    ),
    "a rebuild that hides a missing posting": Bug(
        (
            (
                _MOVEMENTS,
                "        .order_by(moving.c.seq)\n",
                "        .where(moving.c.amount % 100 != 37)\n        .order_by(moving.c.seq)\n",
            ),
            (
                "ledger/reconciliation/findings.py",
                "if is_doubtful.scalar_one() or not check.does_journal_agree:",
                "if is_doubtful.scalar_one() and not check:",
            ),
        ),
        shows="not what the committed transfers say",
    ),
    "a page that skips a transfer": Bug(
        (
            (
                "api/routes/transfers.py",
                "cursor_after(data[-1].created_at, data[-1].id)",
                "cursor_after(found[-1].created_at, found[-1].id)",
            ),
        ),
        shows="not in the list",
    ),
    "a poller that is shown what is not complete": Bug(
        (
            (
                "ledger/polling/recorded_order.py",
                "_t.recorded_order < end.order",
                "_t.recorded_order < end.order + 1_000_000",
            ),
        ),
        shows="the poller missed",
    ),
    "a deleted key that is remembered": Bug(
        (
            ("api/auth/key_ring.py", "KNOWN_FOR_S: Final = 8.0", "KNOWN_FOR_S: Final = 600.0"),
            ("api/auth/key_ring.py", "for key in new:", "for key in new[:0]:"),
        ),
        shows="let in by a key",
    ),
}


@dataclass(frozen=True)
class Verdict:
    """The judge's last line about a storm with a bug."""

    is_caught: bool
    text: str
    lived_s: float | None
    """The time of the line that gave it away, from the beginning of the record."""


def changed(bug: Bug) -> dict[str, str]:
    """Return the text of each file that the bug changes, with the bug.

    Raises: ValueError: when the code is no longer what the bug expects.
    """
    texts: dict[str, str] = {}
    for name, before, after in bug.changes:
        text = texts.get(name) or (ROOT / name).read_text()
        if text.count(before) != 1:
            raise ValueError(f"{name} has this {text.count(before)} times: {before}")
        texts[name] = text.replace(before, after)
    return texts


def plant(bug: Bug, folder: Path) -> None:
    """Copy the code into an empty folder, and put the bug into the copy."""
    listed = subprocess.check_output(("git", "ls-files", "-z"), cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for name, text in changed(bug).items():
        (folder / name).write_text(text)


def judge(bug: Bug) -> Verdict:
    """Run a storm over code with the bug, and let the checker judge its record."""
    with tempfile.TemporaryDirectory(prefix="truepenny-planted-") as place:
        folder = Path(place)
        plant(bug, folder)
        out = folder / "history.jsonl"
        options = ("--seed", str(bug.seed), "--seconds", str(SECONDS), "--broker", BROKER)
        command = (sys.executable, "-m", "testing.storm", *options, "--out", str(out))
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as storm:
            try:
                errors = storm.communicate(timeout=_WITHIN_S)[1]
            finally:
                storm.terminate()  # so that it cleans up; harmless at its end
        said = subprocess.run(
            (sys.executable, "-I", "-S", str(_CHECKER), str(out)),
            capture_output=True,
            text=True,
            check=False,
            timeout=_WITHIN_S,
        )
        text = said.stdout.strip().removeprefix(f"{out}:")
        if bug.shows not in text:
            return Verdict(is_caught=False, text=text or errors[-500:], lived_s=None)
        number = int(text.partition(":")[0])
        line = json.loads(out.read_text().splitlines()[number - 1])
        return Verdict(is_caught=True, text=text, lived_s=line["at"])


def main(names: list[str]) -> int:
    """Judge all bugs, or those that are named."""
    if unknown := set(names) - BUGS.keys():
        sys.stderr.write(f"planted: no such bug: {', '.join(sorted(unknown))}\n")
        return 2
    missed = 0
    for name in names or BUGS:
        verdict = judge(BUGS[name])
        missed += not verdict.is_caught
        lived = "" if verdict.lived_s is None else f" after {verdict.lived_s:.1f} s"
        said = "caught" if verdict.is_caught else "NOT CAUGHT"
        sys.stdout.write(f"{said}{lived}: {name}: {verdict.text[:160]}\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
