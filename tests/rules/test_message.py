"""What a message says of the attributes behind its rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.crypto.message import Message

ATTRIBUTE = st.fixed_dictionaries(
    {}, optional={"uuid": st.text("ab", max_size=3), "event_id": st.text("12", max_size=3)}
)


@given(st.lists(ATTRIBUTE, min_size=1, max_size=4))
def test_ids_are_those_of_the_attributes_in_order(attributes: list[dict[str, str]]) -> None:
    message = Message("block", tuple(attributes))
    named = [a for a in attributes if "uuid" in a]
    nameless = [a for a in attributes if "uuid" not in a]
    assert message.uuids() == tuple(a["uuid"] for a in named)
    assert message.event_ids() == (
        *(a.get("event_id", "") for a in named),
        *(a["event_id"] for a in nameless if "event_id" in a),
    )
