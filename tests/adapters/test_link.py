"""Messages between engine and keeper survive the socket, and nothing else gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.adapters.link import (
    MAX_MESSAGE,
    Close,
    Closed,
    Message,
    NotOpened,
    Opening,
    Ready,
    Tenant,
    decode,
    encode,
)
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Cores, Seconds
from kubesprint.engine.ports import KnobReport, Report

numbers = st.floats(0, 1e9).map(Seconds)
allocations = st.builds(
    lambda cores, clock: Allocation(Cores(cores), clock), st.floats(0.01, 512), st.floats(0.1, 5)
)
grants = st.builds(Grant, grant=st.text(), knob=st.text(), allocation=allocations, lease=numbers)
knobs = st.builds(
    KnobReport,
    knob=st.text(),
    grant=st.none() | st.text(),
    outcome=st.sampled_from(Reason),
    allocation=st.none() | allocations,
    since=numbers,
    at=numbers,
    detail=st.text(),
)
reports = st.builds(
    Report,
    run=st.text(),
    epoch=st.integers(0),
    sequence=st.integers(0),
    knobs=st.lists(knobs, max_size=3).map(lambda many: {knob.knob: knob for knob in many}),
    trouble=st.none() | st.sampled_from(Reason),
    detail=st.text(),
)
texts = st.lists(st.text(), max_size=3).map(tuple)
messages = st.one_of(
    st.builds(
        Opening,
        run=st.text(),
        slots=st.integers(1, 9),
        base=allocations,
        sprint=allocations,
        clocks=st.none() | st.tuples(st.text(), st.text()),
    ),
    st.builds(Ready, notes=texts, plan=st.text()),
    st.builds(NotOpened, message=st.text(), final=st.booleans()),
    st.builds(
        Directive,
        run=st.text(),
        epoch=st.integers(0),
        sequence=st.integers(0),
        grants=st.lists(grants, max_size=3).map(tuple),
    ),
    st.builds(Tenant, knob=st.text(), pid=st.integers(1), start_ticks=st.integers(0)),
    reports,
    st.just(Close()),
    st.builds(Closed, report=st.none() | reports, put_back=st.integers(0), left=texts, failed=texts),
)


@given(message=messages)
def test_every_message_arrives_as_it_was_sent(message: Message):
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"type":"shutdown"}',
        b'{"type":"directive","run":"r","epoch":1,"sequence":1,"grants":[["g","k",[1,1],NaN]]}',
        b'{"type":"directive","run":"r","epoch":1,"sequence":1,"grants":[["g","k",[1,1],true]]}',
        b'{"type":"directive","run":"r","epoch":1,"sequence":1,"grants":[["g","k",[0,1],5]]}',
        b'{"type":"directive","run":"r","epoch":1,"sequence":1}',
    ],
)
def test_anything_else_is_refused(data: bytes):
    with pytest.raises(Refused, match="cannot be understood"):
        decode(data)


def test_a_report_of_hundreds_of_slots_fits_into_one_message():
    knob = KnobReport(
        knob="slot-100",
        grant="grant-100",
        outcome=Reason.APPLIED,
        allocation=Allocation(Cores(1.0)),
        since=Seconds(12345.123456789),
        at=Seconds(12345.123456789),
    )
    report = Report(run="r", epoch=1, sequence=1, knobs={f"slot-{i}": knob for i in range(400)})
    assert len(encode(report)) < MAX_MESSAGE / 2
