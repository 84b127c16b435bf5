"""No secret passes, however its bytes are written and split."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.redact import Needles, Redactor, written
from schemas.secret_names import is_secret, masked, still_masked

SECRET = "s3cr3t/Pa+ss wörd"
TOKEN = {"HF_TOKEN": SECRET}


def streamed(needles: Needles, text: bytes, cuts: list[int]) -> bytes:
    redactor, out, start = Redactor(needles), b"", 0
    for cut in (*sorted({min(cut, len(text)) for cut in cuts}), len(text)):
        out += redactor.feed(text[start:cut])
        assert len(redactor.held) < max(needles.longest, 1)
        start = cut
    return out + redactor.flush()


@given(
    st.lists(st.text("xyz", min_size=6, max_size=12), min_size=1, max_size=3),
    st.data(),
)
def test_a_stream_is_what_one_replacement_makes_of_it(
    secrets: list[str], data: st.DataObject
) -> None:
    needles = Needles({f"N{index}": secret for index, secret in enumerate(secrets)})
    known = [needle for secret in secrets for needle in written(secret)]
    pieces = st.one_of(
        st.text("xyz\n", max_size=9).map(str.encode),
        st.sampled_from(known),
        st.sampled_from(known).map(lambda needle: needle[:-1]),
    )
    text = b"".join(data.draw(st.lists(pieces, max_size=12)))
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    out = streamed(needles, text, cuts)
    longest_first = sorted(filter(lambda needle: len(needle) >= 6, known), key=len, reverse=True)
    names = {
        needle: f"[redacted N{index}]".encode()
        for index, secret in reversed(list(enumerate(secrets)))
        for needle in written(secret)
    }
    expected = re.sub(b"|".join(map(re.escape, longest_first)), lambda found: names[found[0]], text)
    assert needles.replaced(text) == expected
    assert out == expected
    for needle in known:
        assert len(needle) < 6 or needle not in out


@given(st.text(min_size=6, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_no_way_of_writing_it_passes(secret: str, before: bytes, after: bytes) -> None:
    try:
        data = secret.encode()
    except UnicodeEncodeError:
        return
    needles = Needles({"K": secret})
    for text in (
        data,
        data.hex().encode(),
        data.hex().upper().encode(),
        quote(data, safe="").encode(),
        quote(data).lower().encode() if quote(data).islower() else b"",
        json.dumps(secret).encode(),
        base64.b64encode(before + data + after),
        base64.urlsafe_b64encode(before + data + after),
    ):
        assert text == b"" or b"[redacted K]" in needles.replaced(text)


def test_every_byte_by_itself_is_enough_to_find_it() -> None:
    text = f"key={SECRET}; again {SECRET[:-1]}!\n".encode()
    needles = Needles.of(TOKEN)
    out = streamed(needles, text, list(range(len(text))))
    assert out.decode() == f"key=[redacted HF_TOKEN]; again {SECRET[:-1]}!\n"


def test_an_ordinary_line_is_passed_at_once() -> None:
    redactor = Redactor(Needles.of(TOKEN))
    assert redactor.feed(b"loss s3cr\n") == b"loss s3cr\n"
    assert redactor.held == b""


def test_only_what_may_become_a_secret_is_held() -> None:
    redactor = Redactor(Needles.of(TOKEN))
    assert redactor.feed(b"login: s3cr") == b"login: "
    assert redactor.flush() == b"s3cr"
    assert redactor.feed(b"3t") == b"3t"


def test_of_two_secrets_the_longer_one_is_named() -> None:
    needles = Needles({"SHORT": "abcdef", "LONG": "abcdefgh"})
    assert streamed(needles, b"abcdefgh abcdefg", [3, 6, 7]) == b"[redacted LONG] [redacted SHORT]g"


def test_a_secret_as_long_as_any_may_be_is_found_in_every_piece() -> None:
    secret = "".join(f"{number:x}" for number in range(25_000))
    needles = Needles.of({"PRIVATE_KEY": secret})
    out = streamed(needles, f"<{secret}>\n".encode(), list(range(0, 120_000, 999)))
    assert out == b"<[redacted PRIVATE_KEY]>\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "hf_abcdefgh"),
        ("WANDB_API_KEY", "0123456789abcdef"),
        ("AWS_SECRET_ACCESS_KEY", "/bPxRfiCYEXAMPLEKEY/K7MDENG"),
        ("DB_PASSWORD", "hunter2"),
        ("openai_apikey", "sk-abc"),
        ("GOOGLE_CREDENTIALS", '{"type": "service_account"}'),
    ],
)
def test_these_are_secrets(name: str, value: str) -> None:
    assert is_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODE", "quick-run"),
        ("MAX_TOKENS", "1000000"),
        ("TOKENIZER", "bert-base-uncased"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/run/secrets/google.json"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("HF_TOKEN", ""),
        ("PWD", "/Home/Me"),
    ],
)
def test_these_are_none(name: str, value: str) -> None:
    assert not is_secret(name, value)


def test_what_is_shown_keeps_all_but_secrets() -> None:
    shown = masked({"SEED": "7", "HF_TOKEN": "hf_abc"})
    assert shown == {"SEED": "7", "HF_TOKEN": "•••"}
    assert still_masked(shown) == ["HF_TOKEN"]


KEY = "-----BEGIN KEY-----\r\n  first-line-of-it\n\nsecond-line-of-it\nend\n"


def test_a_secret_of_several_lines_is_found_line_by_line() -> None:
    needles = Needles.of({}, {"KEY": KEY})
    out = needles.redacted("| first-line-of-it |\n> second-line-of-it\nthe end\n")
    assert out == "| [redacted KEY] |\n> [redacted KEY]\nthe end\n"


def test_what_was_given_as_a_secret_is_one_whatever_its_name() -> None:
    needles = Needles.of({"PLAIN": "a-plain-value"}, {"PLACE": "/in/small/letters"})
    assert needles.redacted("a-plain-value /in/small/letters") == "a-plain-value [redacted PLACE]"


def test_a_line_feed_at_the_end_of_a_secret_need_not_be_printed() -> None:
    assert Needles.of({}, {"T": "abcdefgh\n"}).redacted("<abcdefgh>") == "<[redacted T]>"


def test_bytes_that_are_no_text_are_found() -> None:
    secret = b"\xff\xfe\x00binary".decode("utf-8", "surrogateescape")
    needles = Needles.of({}, {"B": secret})
    assert needles.replaced(b"..\xff\xfe\x00binary..") == b"..[redacted B].."
