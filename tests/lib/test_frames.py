from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.frames import STDERR, STDOUT, FrameReader, frame, header

FRAMES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=6)


def test_a_header_is_the_stream_and_the_length_in_big_endian() -> None:
    assert header(STDERR, 0x01020304) == b"\x02\0\0\0\x01\x02\x03\x04"


@given(FRAMES, st.integers(1, 7))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[int, bytes]], step: int
) -> None:
    stream, reader = b"".join(frame(*each) for each in frames), FrameReader()
    read = [each for at in range(0, len(stream), step) for each in reader.feed(stream[at : at + step])]
    assert read == frames
