from __future__ import annotations

from api.intake import Intake
from ledger.intake import Answer
from tests.bank import Bank


def test_workers_are_told_of_new_work_and_only_once_it_is_committed(bank: Bank) -> None:
    seen: list[int] = []
    intake = Intake(bank.engine, lambda: seen.append(bank.unfinished()))
    source, destination = bank.wallet(100), bank.wallet()
    request = bank.request(source, destination, 60)
    intake.submit([request])
    assert seen == [1]  # seen from another connection, so committed

    intake.submit([request])  # a repeat
    intake.submit([bank.request(source, destination, 1000)])  # refused at the door
    intake.submit([bank.request(source, source, 1)])  # wrong
    assert seen == [1]

    intake.submit([request, bank.request(source, destination, 10)])
    assert seen == [1, 2]


def test_answers_come_in_the_order_of_the_requests(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    requests = [bank.request(source, destination, amount) for amount in (1, 200, 3)]
    answers = Intake(bank.engine, lambda: None).submit(requests)
    assert [answer.transfer.amount for answer in answers if isinstance(answer, Answer)] == [
        1,
        200,
        3,
    ]
