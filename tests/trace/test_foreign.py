"""Traces in the formats of other programs and data sets."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.errors import TraceError
from blis.request import Segment
from blis.trace import Trace
from blis.trace.foreign import read_any
from blis.trace.foreign.prefixes import PrefixTree

FOREIGN = Path(__file__).resolve().parent.parent / "data" / "foreign"


def rows(trace: Trace) -> list[tuple[int, int, int]]:
    """Arrival, input and output tokens of each request."""
    columns = (trace.column(name).tolist() for name in ("arrival_time_us", "input_tokens", "output_tokens"))
    return list(zip(*columns, strict=True))


class TestFormats:
    def test_azure(self) -> None:
        trace = read_any(FOREIGN / "azure.csv")
        assert rows(trace)[:2] == [(0, 374, 44), (4_314_579, 396, 109)]
        assert trace.header.mode == "generated"
        assert trace.header.epoch_us == 1_700_158_546_680_590
        assert set(trace.column("client_id")) == {"azure"}
        assert trace.column("client_seq").tolist() == [0, 1, 2, 3, 4]

    def test_azure_of_2024_has_time_zones_and_failed_requests(self) -> None:
        trace = read_any(FOREIGN / "azure-2024.csv")
        assert rows(trace) == [(0, 2162, 5), (7405, 2399, 6), (17391, 1192, 0)]
        assert trace.column("planned_output_tokens").tolist() == [5, 6, -1]

    def test_vidur_rows_are_put_in_order_of_arrival(self) -> None:
        trace = read_any(FOREIGN / "vidur.csv")
        assert rows(trace) == [(0, 512, 64), (400_005, 128, 256), (732_119, 1024, 32), (2_500_000, 2048, 1)]
        assert trace.column("request_id").tolist() == [0, 1, 2, 3]

    def test_burstgpt_clients_are_models_and_kinds_of_log(self) -> None:
        trace = read_any(FOREIGN / "burstgpt.csv")
        assert rows(trace)[0] == (5_000_000, 472, 18)
        assert trace.column("client_id").tolist() == [
            "ChatGPT Conversation log", "ChatGPT Conversation log", "GPT-4 Conversation log", "ChatGPT API log",
            "ChatGPT API log",
        ]  # fmt: skip
        assert trace.column("client_seq").tolist() == [0, 1, 0, 0, 1]

    def test_mooncake_prompts_share_what_their_hash_ids_do(self) -> None:
        trace = read_any(FOREIGN / "mooncake.jsonl")
        assert rows(trace)[3:] == [(9_052_000, 1600, 8), (9_060_500, 1024, 5)]
        assert trace.segments is not None
        # What a prompt's last hash id stands for isn't continued by its output: nobody knows what that was.
        assert dict(trace.segments.items()) == {
            0: (("p0", 1544), (None, 0)),
            1: (("p0", 1024), ("p1", 16), (None, 0)),
            3: (("p0", 1024), ("p1", 576), (None, 0)),
            4: (("p0", 1024), (None, 0)),
        }

    def test_token_lists_share_leading_tokens_and_earlier_outputs(self) -> None:
        trace = read_any(FOREIGN / "token-lists.csv")
        assert rows(trace) == [(0, 28, 4), (250_000, 26, 2), (1_000_000, 31, 1), (2_125_000, 35, 3)]
        assert trace.segments is not None
        # The fourth prompt begins with the first one and its output, which therefore continues the key.
        assert dict(trace.segments.items()) == {0: (("p0", 28),), 1: (("p0", 24), (None, 2)), 3: (("p0", 35),)}

    @pytest.mark.parametrize("columns", ['0.5,x,"[1, 2]","[3]"', '0.5,"[1, 2]","[3]"', '0.5,a,b,c,"[1,2]","[3]"'])
    def test_token_lists_are_found_wherever_they_are(self, tmp_path: Path, columns: str) -> None:
        path = tmp_path / "lists.csv"
        path.write_text(f"{columns}\n{columns}\n")
        trace = read_any(path)
        assert rows(trace) == [(500_000, 2, 1)] * 2
        # Two tokens in common are chance.
        assert trace.segments is None

    def test_other_columns_and_a_byte_order_mark_are_passed_over(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("\ufeffid, num_decode_tokens ,arrived_at,num_prefill_tokens\n\nx,7.0,1e-3,5\n")
        assert rows(read_any(path)) == [(1000, 5, 7)]

    @pytest.mark.parametrize("name", sorted(path.name for path in FOREIGN.iterdir()))
    def test_what_editors_and_other_systems_add_changes_nothing(self, tmp_path: Path, name: str) -> None:
        """A byte order mark, the line ends of Windows, and blank lines."""
        lines = (FOREIGN / name).read_text().splitlines()
        path = tmp_path / name
        path.write_bytes("\r\n".join(["\ufeff" + lines[0], "", *lines[1:], "  ", "", ""]).encode())
        assert read_any(path) == read_any(FOREIGN / name)

    @pytest.mark.parametrize("name", sorted(path.name for path in FOREIGN.iterdir()))
    def test_a_converted_trace_is_the_same(self, tmp_path: Path, name: str) -> None:
        trace = read_any(FOREIGN / name)
        trace.write(tmp_path / "converted")
        assert read_any(tmp_path / "converted") == trace
        assert read_any(tmp_path / "converted.csv") == trace
        if trace.segments:
            assert read_any(tmp_path / "converted.segments.jsonl") == trace

    def test_the_header_may_be_elsewhere(self, tmp_path: Path) -> None:
        trace = read_any(FOREIGN / "vidur.csv")
        trace.write(tmp_path / "one")
        (tmp_path / "one.yaml").rename(tmp_path / "header.yaml")
        assert read_any(tmp_path / "one.csv", tmp_path / "header.yaml") == trace


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
A_DATE = "a date and time such as 2023-11-16 18:15:46.680590"
SECONDS = "a number of seconds, 0 or more"
TOKENS = "a whole number, 0 or more"
LIST = "a list of token ids such as [128000, 9906]"
ROW = '0.5,"[1, 2]","[3]"'


class TestErrors:
    @pytest.fixture
    def refused(self, tmp_path: Path) -> Callable[[str, str], list[str]]:
        """Write a file and return the lines of the error that reading it gives, without the folder."""

        def refused(name: str, text: str) -> list[str]:
            path = tmp_path / name
            path.write_bytes(text.encode("latin-1"))
            with pytest.raises(TraceError) as error:
                read_any(path)
            return str(error.value).replace(f"{tmp_path}/", "").splitlines()

        return refused

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            (AZURE + "yesterday,1,2\n", f"2: column 1 (TIMESTAMP): found 'yesterday'; allowed is {A_DATE}"),
            (AZURE + "2023-11-16 18:15:46,-1,2\n", f"2: column 2 (ContextTokens): found '-1'; allowed is {TOKENS}"),
            (VIDUR + "\n0.5,1.5,2\n", f"3: column 2 (num_prefill_tokens): found '1.5'; allowed is {TOKENS}"),
            (VIDUR + "nan,1,2\n", f"2: column 1 (arrived_at): found 'nan'; allowed is {SECONDS}"),
            (VIDUR + "-3,1,2\n", f"2: column 1 (arrived_at): found '-3'; allowed is {SECONDS}"),
            (VIDUR + "1,2\n", "2: found 2 cells; the first line names 3 columns"),
            (VIDUR + '1,"2,3\n', "2: not valid CSV: unexpected end of data"),
            (VIDUR + "1,2,\xe9\n", "2: byte 5 of the line isn't UTF-8; save the file as UTF-8"),
            ('0,"[1,2]",x\n1,"[1]","[2]"\n', f"1: found 3 cells without two lists of token ids; allowed is {ROW}"),
            ('t,p,o\nsoon,"[1]","[2]"\n', f"2: column 1: found 'soon'; allowed is {SECONDS}"),
            ('t,p,o\n1,"[1]","[2]"\n1,"[a]","[2]"\n', f"3: column 2: found '[a]'; allowed is {LIST}"),
        ],
    )  # fmt: skip
    def test_cells(self, refused: Callable[[str, str], list[str]], text: str, error: str) -> None:
        assert refused("x.csv", text) == [f"x.csv:{error}"]

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("[1]", "found '[1]'; allowed is an object with timestamp, input_length, output_length, hash_ids"),
            ("{", "found '{'; allowed is an object with timestamp, input_length, output_length, hash_ids"),
            ('{"timestamp": 1, "input_length": 3}', "output_length is missing; each line has timestamp, input_length,"
             " output_length, hash_ids"),
            ('{"timestamp": "1", "input_length": 3, "output_length": 1}', "timestamp: found '1'; allowed is a number of"
             " milliseconds, 0 or more"),
            ('{"timestamp": 1, "input_length": 3.5, "output_length": 1}', "input_length: found 3.5; allowed is a whole"
             " number, 0 or more"),
            ('{"timestamp": 1, "input_length": 3, "output_length": 1, "hash_ids": ["a"]}', "hash_ids: found a list of 1"
             " item; allowed is a list of whole numbers below 2^63"),
            ('{"timestamp": 1, "input_length": 512, "output_length": 1, "hash_ids": [1, 2]}', "hash_ids: found 2 for an"
             " input_length of 512; each stands for 512 tokens, so that at most 1 are allowed"),
        ],
    )  # fmt: skip
    def test_lines_of_json(self, refused: Callable[[str, str], list[str]], line: str, error: str) -> None:
        good = '{"timestamp": 0, "input_length": 3, "output_length": 1}\n'
        assert refused("x.jsonl", f"{good}\n{line}\n") == [f"x.jsonl:3: {error}"]

    def test_up_to_ten_problems_are_reported_at_once(self, refused: Callable[[str, str], list[str]]) -> None:
        errors = refused("x.csv", VIDUR + "a,b,c\n" * 20)
        assert len(errors) == 10
        assert errors[3].startswith("x.csv:3: column 1 (arrived_at): found 'a'")
        assert len(refused("x.jsonl", "{}\n" * 20)) == 10
        assert len(refused("x.csv", 't,p,o\n1,"[1]","[2]"\n' + "x,y,z\n" * 20)) == 10

    @pytest.mark.parametrize(("text", "found"), [("a,b\n1,2\n", "the columns 'a', 'b'"), ("", "nothing")])
    def test_unknown_formats(self, refused: Callable[[str, str], list[str]], text: str, found: str) -> None:
        first, *known = refused("x.csv", text)
        assert first == f"x.csv:1: no known format of a trace; found {found}. Known are, by their columns:"
        assert "  Azure LLM inference trace: TIMESTAMP, ContextTokens, GeneratedTokens" in known
        assert len(known) == 6

    def test_files_that_are_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(TraceError, match=r"nothing\.jsonl: no such file"):
            read_any(tmp_path / "nothing.jsonl")
        with pytest.raises(TraceError, match="no header of a trace"):
            read_any(tmp_path / "nothing")

    def test_a_trace_of_blis_needs_its_header(self, tmp_path: Path) -> None:
        read_any(FOREIGN / "vidur.csv").write(tmp_path / "run")
        (tmp_path / "run.yaml").unlink()
        with pytest.raises(TraceError, match=r"no header of a trace: .*run\.yaml or .*run\.yml not found"):
            read_any(tmp_path / "run.csv")


def agreement(one: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def common(prompt: tuple[Segment, ...], other: tuple[Segment, ...], *, with_output: bool) -> int:
    """Tokens that a prompt shares with another one, or with that and its output, by their segments."""
    shared = 0
    for place, ((key, tokens), (other_key, other_tokens)) in enumerate(zip(prompt, other, strict=False)):
        if key is None or key != other_key:
            break
        if with_output and place == len(other) - 1:
            return shared + tokens
        shared += min(tokens, other_tokens)
        if tokens != other_tokens:
            break
    return shared


def test_an_output_of_its_own_behind_a_shared_prompt() -> None:
    tree = PrefixTree(1, 1, outputs=True)
    for prompt, output in (([1, 2], [3, 4]), ([1, 2], [5, 6]), ([1, 2, 5, 6, 7], [8])):
        tree.add(array("q", prompt + output), len(prompt))
    prompts = dict(tree.segments(range(3)).items())
    assert prompts == {0: (("p0", 2),), 1: (("p0", 2), ("p1", 0)), 2: (("p0", 2), ("p1", 3))}


IDS = st.integers(0, 2)
SEQUENCES = st.lists(st.tuples(st.lists(IDS, min_size=1, max_size=9), st.lists(IDS, max_size=4)), max_size=12)


@settings(max_examples=100)
@given(SEQUENCES, st.sampled_from((1, 3)))
def test_segments_share_what_sequences_have_in_common(sequences: list[tuple[list[int], list[int]]], least: int) -> None:
    tree = PrefixTree(1, least, outputs=True)
    for prompt, output in sequences:
        tree.add(array("q", prompt + output), len(prompt))
    found = dict(tree.segments(range(len(sequences))).items())
    prompts = [found.get(place, ((None, len(prompt)),)) for place, (prompt, _) in enumerate(sequences)]
    for (prompt, output), segments in zip(sequences, prompts, strict=True):
        assert sum(tokens for _, tokens in segments) == len(prompt)
        for (other, produced), other_segments in zip(sequences, prompts, strict=True):
            if other_segments is segments:
                continue
            enough = agreement(prompt + output, other + produced) >= least
            same = agreement(prompt, other) if enough else 0
            assert common(segments, other_segments, with_output=False) == same
            same = agreement(prompt, other + produced) if enough else 0
            shared = common(segments, other_segments, with_output=True)
            # What would be produced after the known output isn't known; and of an output that leaves midway what others
            # have, a prompt's segments can't tell.
            assert shared in (same, min(same, len(other))) or shared > same == len(other + produced)
