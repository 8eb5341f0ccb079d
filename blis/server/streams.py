"""Token streams: what the segments of a prompt are made of.

A stream belongs to a key; its token (or word) at a position is always the same, so that two prompts agree exactly as
far as their keys and lengths say. Streams begin with the digits of their key's hash and go on in a table of random
choices from a place that the hash decides: two streams differ from their start on, and any length costs one slice.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt

from blis.rng import stream

__all__ = ["WORDS", "Streams"]

Indices = npt.NDArray[np.int32]

_TABLE = 1 << 18
_HASH_BITS = 64

WORDS = tuple(
    "able about above across act add after again age air all alone also among and animal answer any area arm art "
    "ask away back bad bank base be bear beat bed been before begin best better big bird black block blood blue "
    "board body bone book both box boy bring brother build burn bus but buy by call came can car card care case "
    "cat catch cause cell center chance change check child city class clean clear close cloud cold color come "
    "common cook cool cost could count country course cover cross cup cut dark data day dead deal death deep did "
    "die do doctor dog door down draw dream dress drink drive drop dry during each early earth east easy eat edge "
    "eight else end enough even ever every eye face fact fall family far farm fast father fear feel feet few "
    "field fight fill film find fine fire first fish five floor fly food foot for form four free friend from "
    "front full game gas gave girl give glass go gold good got great green ground group grow gun hair half hand "
    "happy hard has hat have he head hear heart heat heavy help her here high hill him his history hit hold hole "
    "home hope horse hot hotel hour house how hundred husband ice idea if in inside into iron island job join "
    "just keep key kill kind king know lake land language large last late law lay lead learn leave left leg less "
    "let letter level lie life light like line list little live long look lose lot love low machine main make man "
    "many map mark market matter may me mean meat meet men middle might mile milk mind mine minute miss money "
    "month moon more most mother mountain mouth move much music must my name near neck need never new news next "
    "night nine no north nose not note nothing now number ocean of off office oil old on once one only open or "
    "order other our out over own page paint paper part party pass past pay peace people perhaps person picture "
    "piece place plan plane plant play point poor power press price problem public pull push put question quick "
    "quiet race radio rain ran reach read ready real red rest rich ride right ring rise river road rock room "
    "round rule run safe said salt same sat save saw say school science sea seat second see sell send sense serve "
    "set seven shall shape share she ship shoe shop short should show side sign simple since sing single sister "
    "sit six size skin sky sleep slow small snow so soft some son song soon sound south space speak special speed "
    "spring square staff stage stand star start state stay step still stone stop store story street strong such "
    "sugar summer sun sure swim table take talk tall teach team tell ten test than that the their them then there "
    "these they thing think third this those though thought three through time to today together told too took "
    "top touch toward town track trade train travel tree trip true try turn two type under unit until up us use "
    "very view visit voice wait walk wall want war warm was watch water way we wear week well went were west what "
    "wheel when where which while white who whole why wide wife wild will wind window winter wish with woman wood "
    "word work world would write wrong year yellow yes yet you young your ".split()
)
"""Words that most tokenizers have as one token each, with the blank before them."""


class Streams:
    """Streams of numbers from 0 to ``size`` - 1, which stand for the tokens or words of some list."""

    def __init__(self, seed: int, size: int) -> None:
        self._size = size
        self._seed = b"%d" % seed
        self._table = stream(seed, "prompts").integers(0, size, _TABLE, np.int32)
        # Enough of them to write any hash.
        self._digits = math.ceil(_HASH_BITS / math.log2(size))

    def of_key(self, key: str, start: int, stop: int) -> Indices:
        """Positions ``start`` to ``stop`` (excluded) of the stream of ``key``; don't change them."""
        return self._cut(f"key {key}", start, stop)

    def unique(self, client: str, number: int, part: int, length: int) -> Indices:
        """A stretch that only this ``part`` of request ``number`` of a client has; don't change it."""
        return self._cut(f"request {number} {part} {client}", 0, length)

    def _cut(self, name: str, start: int, stop: int) -> Indices:
        digest = hashlib.blake2b(name.encode(), digest_size=16, key=self._seed).digest()
        place = int.from_bytes(digest[:8], "little") % _TABLE
        if place + stop <= _TABLE:
            found = self._table[place + start : place + stop]
        else:
            found = self._table.take(np.arange(place + start, place + stop), mode="wrap")
        if start < self._digits:
            found = found.copy()
            value = int.from_bytes(digest[8:], "little") // self._size**start
            for index in range(min(self._digits, stop) - start):
                value, found[index] = divmod(value, self._size)
        return found
