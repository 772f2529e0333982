from __future__ import annotations
from ledger import reconciling, reconciliations
from ledger.database import transaction
from tests.bank import Bank


def test_it(bank: Bank) -> None:
    source, destination = bank.wallet(100_00), bank.wallet()
    for state in ("reserved", "deducted", "credited", "committed"):
        bank.reach(state, bank.request(source, destination, 100))
    for _ in range(2):
        with transaction(bank.engine) as c:
            print(reconciliations.begin(c, "operator" ))
        found = []
        print(reconciling.work(bank.engine, every_s=1, works_for_s=10, found=found))
        assert found == []
    with transaction(bank.engine) as c:
        print(reconciliations.begin(c, "schedule" ))
    print(reconciling.work(bank.engine, every_s=1, works_for_s=10, found=found))
    assert found == []
    assert 0
