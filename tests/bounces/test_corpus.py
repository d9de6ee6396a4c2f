"""The sample of third-party messages and replies: what other projects found in them is found."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mta.bounces.classify import Classifier
from mta.bounces.reading import read
from mta.bounces.report import Hardness, Kind
from mta.bounces.rules import Rules
from mta.mail.reply import EnhancedStatus

CORPORA = Path(__file__).parents[1] / "corpora"

Label = dict[str, Any]


def labels(name: str) -> list[Label]:
    return [json.loads(line) for line in (CORPORA / name).read_text(encoding="utf-8").splitlines()]


MESSAGES = labels("expected.jsonl")


def octets_of(label: Label) -> bytes:
    return (CORPORA / "messages" / str(label["file"])).read_bytes()


def is_one_of(found: object, label: Label, key: str) -> bool:
    return found in (label[key], *label.get(f"{key}_alt", ()))


@pytest.mark.parametrize("label", MESSAGES, ids=[label["file"] for label in MESSAGES])
def test_no_message_is_taken_for_a_worse_one(label: Label, rules: Rules) -> None:
    found = read(octets_of(label), rules)
    assert is_one_of(found.kind, label, "kind") or found.kind is Kind.OTHER
    soft = {one["address"].lower() for one in label["recipients"] if one["hardness"] == "soft" and one["address"]}
    hard = {one.address.lower() for one in found.recipients if one.classification.hardness is Hardness.HARD}
    assert not soft & hard


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_nearly_all_of_it_is_read_as_it_is_labelled(ends: bytes, rules: Rules) -> None:
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()

    def count(what: str, is_right: bool) -> None:
        asked[what] += 1
        right[what] += is_right

    for label in MESSAGES:
        found = read(octets_of(label).replace(b"\r\n", b"\n").replace(b"\n", ends), rules)
        count("kind", is_one_of(found.kind, label, "kind"))
        if not label["score_addresses"]:
            continue
        by_address = {recipient.address.lower(): recipient for recipient in found.recipients}
        for wanted in label["recipients"]:
            names = [name.lower() for name in (wanted["address"], *wanted.get("address_alt", ()))]
            one = next((by_address[name] for name in names if name in by_address), None)
            count("address", one is not None)
            if one is None:
                continue
            if wanted["hardness"]:
                count("hardness", one.classification.hardness == wanted["hardness"])
            if wanted["reason"] and label["kind"] == "bounce":
                count("reason", is_one_of(one.classification.reason, wanted, "reason"))
            if wanted["status"]:
                count("status", is_one_of(str(one.status), wanted, "status"))
    shares = {what: right[what] / asked[what] for what in asked}
    assert min(shares.values()) >= 0.94, shares


def test_nearly_all_replies_mean_what_they_are_labelled(rules: Rules) -> None:
    classifier = Classifier(rules)
    wrong = []
    for label in labels("replies.jsonl"):
        status = EnhancedStatus.parse(label["status"]) if label["status"] else None
        code = int(label["smtp_code"]) if label["smtp_code"] else None
        meaning = classifier.reply(code, status, label["text"])
        if not is_one_of(meaning.reason, label, "reason") or label["hardness"] not in (None, meaning.hardness):
            wrong.append((label["id"], meaning))
    assert len(wrong) <= 1, wrong
