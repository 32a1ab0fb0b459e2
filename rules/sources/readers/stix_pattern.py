"""What a STIX pattern lists: the attributes each of which is enough for it to match.

A pattern says what somebody must have observed, in a language of its own. A rule is one value.
So a pattern is taken apart into its alternatives, and each becomes a rule if one value stands
for the whole of it. What does not is refused with its reason: a rule for a part of a condition
would block what the pattern's author did not mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any, Final, NamedTuple

from inkgate.rules.sources.readers.stix_properties import Condition, attributes_for

MAX_CHARACTERS: Final = 1 << 18
MAX_ALTERNATIVES: Final = 10_000
MAX_CONDITIONS: Final = 100_000

NO_PATTERN: Final = "not a STIX pattern"
TOO_LONG: Final = "a STIX pattern that is too long or has too many alternatives"
OTHER_OPERATOR: Final = "a STIX pattern with another comparison than = or IN"
SEVERAL_TIMES: Final = "a STIX pattern of several observations, or of a span of time"

NOTHING: Final = "a STIX pattern that nothing meets"

_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NUMBER: Final = re.compile(r"\d{1,10}")


class Reading(NamedTuple):
    """One alternative of a pattern.

    Attributes:
        type, value: the attribute that stands for it; empty if there is none.
        refused: why there is none; a fixed phrase.
    """

    type: str = ""
    value: str = ""
    refused: str = ""


class _NotReadError(Exception):
    """A part of a pattern that is not read. Its text is a fixed phrase."""


# All conditions of it must be met; an operator that is not read is its reason.
_Conjunction = tuple[Condition | str, ...]


def read_pattern(pattern: str) -> list[Reading]:
    """The alternatives of a pattern, each once: what they list, or why they are refused.

    Raises:
        ImportError: stix2-patterns is not installed.
    """
    try:
        alternatives = list(_observed(_parsed(pattern).observationExpressions()))
    except ImportError:
        raise
    except _NotReadError as error:
        return [Reading(refused=str(error))]
    except Exception:  # noqa: BLE001 (a foreign parser of hostile input)
        return [Reading(refused=NO_PATTERN)]
    readings = list(dict.fromkeys(r for found in alternatives for r in _readings(found)))
    # A set may be empty: `IN ()`.
    return readings or [Reading(refused=NOTHING)]


def is_pattern(text: str) -> bool:
    """Whether a text is a pattern that libraries can be given: those look for all errors in it.

    Raises:
        ImportError: stix2-patterns is not installed.
    """
    try:
        _parsed(text)
    except ImportError:
        raise
    except Exception:  # noqa: BLE001 (a foreign parser of hostile input)
        return False
    return True


def _parsed(pattern: str) -> Any:
    """The tree of a pattern, which is given up at its first error.

    `stix2patterns.v21.pattern.Pattern` goes on from there to say what is wrong: it splits the
    rest into words, and begins anew behind each that has no end. 300 KB took hours.
    """
    # Imported here: only who has bundles needs them.
    from antlr4 import BailErrorStrategy, CommonTokenStream, InputStream  # noqa: PLC0415
    from stix2patterns.v21.grammars.STIXPatternLexer import STIXPatternLexer  # noqa: PLC0415
    from stix2patterns.v21.grammars.STIXPatternParser import STIXPatternParser  # noqa: PLC0415

    if len(pattern) > MAX_CHARACTERS:
        raise _NotReadError(TOO_LONG)
    lexer = STIXPatternLexer(InputStream(pattern))
    parser = STIXPatternParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        # They write to the console, and quote values.
        part.removeErrorListeners()
    gives_up = BailErrorStrategy()
    gives_up.reportError = lambda *_: None
    parser._errHandler = gives_up
    return parser.pattern()


def _readings(conjunction: _Conjunction) -> Iterator[Reading]:
    unread = [test for test in conjunction if isinstance(test, str)]
    if unread:
        yield Reading(refused=unread[0])
        return
    tests = tuple(dict.fromkeys(test for test in conjunction if not isinstance(test, str)))
    found = attributes_for(tests)
    if isinstance(found, str):
        yield Reading(refused=found)
    else:
        yield from (Reading(*attribute) for attribute in found)


def _observed(root: Any) -> Iterator[_Conjunction]:
    """The alternatives of whole observations, from left to right."""
    waiting = [root]
    count = 0
    while waiting:
        node = waiting.pop()
        name = type(node).__name__
        if name == "ObservationExpressionSimpleContext":
            for found in _compared(node.comparisonExpression()):
                count += 1
                _check(count)
                yield found
        elif name == "ObservationExpressionCompoundContext":
            waiting.append(node.observationExpressions())
        else:
            waiting += reversed(_alternatives(node))


def _alternatives(node: Any) -> list[Any]:
    """The operands of OR, or the only operand there is."""
    below = [child for child in node.getChildren() if type(child).__name__.endswith("Context")]
    is_or = type(node).__name__ == "ObservationExpressionOrContext"
    # AND and FOLLOWEDBY join two observations; WITHIN, REPEATS and START qualify one.
    if not below or (len(below) > 1 and not is_or):
        raise _NotReadError(SEVERAL_TIMES)
    return below


def _compared(node: Any) -> list[_Conjunction]:
    """The alternatives of one observation's conditions."""
    found: list[_Conjunction] = []
    for conditions in _operands(node, "ComparisonExpressionContext"):
        factors = [_tested(test) for test in _conjoined(conditions)]
        _check(len(found) + prod(map(len, factors)), len(factors))
        found += (sum(parts, ()) for parts in product(*factors))
    return found


def _conjoined(node: Any) -> list[Any]:
    """The tests that AND joins."""
    operands = _operands(node, "ComparisonExpressionAndContext")
    return [operand.propTest() for operand in operands]


def _operands(node: Any, name: str) -> list[Any]:
    """What one operator joins, from left to right, of a chain that leans to the left."""
    found: list[Any] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        same = [child for child in one.getChildren() if type(child).__name__ == name]
        if same:
            waiting += reversed(same)
        else:
            found.append(one)
    return [_inner(one, name) for one in found]


def _inner(node: Any, name: str) -> Any:
    """Of an alternative, the conditions in it."""
    return node.comparisonExpressionAnd() if name == "ComparisonExpressionContext" else node


def _tested(node: Any) -> list[_Conjunction]:
    """The alternatives of one test."""
    name = type(node).__name__
    if name == "PropTestParenContext":
        return _compared(node.comparisonExpression())
    if name == "PropTestExistsContext" or node.NOT():
        return [(OTHER_OPERATOR,)]
    path = node.objectPath().getText()
    if name == "PropTestEqualContext" and node.EQ():
        return [(_test(path, node.primitiveLiteral()),)]
    if name == "PropTestSetContext":
        literals = node.setLiteral().primitiveLiteral()
        return [(_test(path, literal),) for literal in literals]
    if name == "PropTestIsSubsetContext":
        return [(_test(path, node.StringLiteral(), is_network=True),)]
    return [(OTHER_OPERATOR,)]


def _test(path: str, literal: Any, *, is_network: bool = False) -> Condition | str:
    text = literal.getText()
    if text.startswith("'"):
        value = _ESCAPED.sub(r"\1", text[1:-1])
    elif _NUMBER.fullmatch(text):
        value = text
    else:
        return OTHER_OPERATOR
    kind, _, steps = path.partition(":")
    # Quotes stand around names with hyphens; an index says which of several.
    plain = re.sub(r"\[(?:\*|\d+)\]", "", steps).replace("'", "")
    return Condition(f"{kind}:{plain}", value, is_network)


def _check(count: int, conditions: int = 1) -> None:
    if count > MAX_ALTERNATIVES or (count > 1 and count * conditions > MAX_CONDITIONS):
        raise _NotReadError(TOO_LONG)
