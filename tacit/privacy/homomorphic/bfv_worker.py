"""One role of a threshold BFV sum in OpenFHE, in a process of its own: answers messages on its standard streams.

Run by the Python that OpenFHE's wheel was built for, which need not have tacit: this file imports nothing of ours. A
message is a count of frames (4 bytes, little-endian), and for each its length (8 bytes) and its bytes; the first frame
of a request names an operation, the first of an answer is "ok" or "error". Nothing is unpickled.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Sequence
from typing import IO, Any

MODULUS = (
    1125899908022273  # prime, 1 mod 65536, above 2^50; 1.6.1 decrypts wrongly from 52 bits on (tests go to the edge)
)
MOST = 2**34  # bytes of a frame: what is longer is no message
OPERATIONS = ("open", "lead", "join", "joint", "encrypt", "add", "sum", "partial", "fuse", "clear", "time")


def read(stream: IO[bytes]) -> list[bytes]:
    """The next message; empty at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return []
    frames = []
    for _ in range(struct.unpack("<I", head)[0]):
        length = stream.read(8)
        if len(length) < 8:
            raise ValueError("a message ends before a frame")
        size = struct.unpack("<Q", length)[0]
        if size > MOST:
            raise ValueError(f"a frame of {size} bytes is no message")
        frames.append(stream.read(size))
        if len(frames[-1]) < size:
            raise ValueError("a message ends in the middle of a frame")
    return frames


def write(stream: IO[bytes], frames: Sequence[bytes | memoryview]) -> None:
    """Send one message."""
    stream.write(struct.pack("<I", len(frames)))
    for frame in frames:
        stream.write(struct.pack("<Q", len(frame)))
        stream.write(frame)
    stream.flush()


class Role:
    """A party or the server: its context and, at a party, its share of the key."""

    def __init__(self) -> None:
        import numpy
        import openfhe

        self.fhe: Any = openfhe
        self.numpy: Any = numpy
        self.context: Any = None
        self.flooding = b""  # what the context is for
        self.key: Any = None
        self.public: Any = None
        self.total: dict[int, Any] = {}  # sums of ciphertexts, or of the parts that open them, by place

    def answer(self, operation: str, frames: list[bytes]) -> list[bytes]:
        """Do one operation."""
        if operation not in OPERATIONS:
            raise ValueError(f"unknown operation {operation!r}")
        found: list[bytes] = getattr(self, operation)(frames)
        return found

    def open(self, frames: list[bytes]) -> list[bytes]:
        """Begin a round: forget keys and sums; returns how many slots a ciphertext has.

        The context is the same for all who ask for the same: 128 bits, additions only, `frames[0]` b"1" for noise
        flooding. Nobody is sent one, so nobody can be sent a weak one.
        """
        fhe = self.fhe
        if frames[0] != self.flooding:
            parameters = fhe.CCParamsBFVRNS()
            parameters.SetPlaintextModulus(MODULUS)
            parameters.SetMultiplicativeDepth(0)
            modes = fhe.MultipartyMode
            flooded = frames[0] == b"1"
            parameters.SetMultipartyMode(modes.NOISE_FLOODING_MULTIPARTY if flooded else modes.FIXED_NOISE_MULTIPARTY)
            self.context = fhe.GenCryptoContext(parameters)
            feature = fhe.PKESchemeFeature
            for each in (feature.PKE, feature.KEYSWITCH, feature.LEVELEDSHE, feature.ADVANCEDSHE, feature.MULTIPARTY):
                self.context.Enable(each)
            fhe.DisablePrecomputeCRTTablesAfterDeserializaton()  # else each key and ciphertext reckons tables anew
            self.flooding = frames[0]
        self.total, self.key, self.public = {}, None, None
        return [str(self.context.GetRingDimension()).encode()]

    def lead(self, frames: list[bytes]) -> list[bytes]:
        """The first party's key pair; returns its public half."""
        self.key = self.context.KeyGen()
        return [self.fhe.Serialize(self.key.publicKey, self.fhe.BINARY)]

    def join(self, frames: list[bytes]) -> list[bytes]:
        """Another party's key pair over the first one's common polynomial; returns its own public share."""
        first = self.fhe.DeserializePublicKeyString(frames[0], self.fhe.BINARY)
        self.key = self.context.MultipartyKeyGen(first, False, True)
        return [self.fhe.Serialize(self.key.publicKey, self.fhe.BINARY)]

    def joint(self, frames: list[bytes]) -> list[bytes]:
        """Add up all public shares; keep the joint public key."""
        shares = [self.fhe.DeserializePublicKeyString(frame, self.fhe.BINARY) for frame in frames]
        self.public = shares[0]
        for share in shares[1:]:
            self.public = self.context.MultiAddPubKeys(self.public, share, share.GetKeyTag())
        return []

    def encrypt(self, frames: list[bytes]) -> list[bytes]:
        """`frames[0]`: little-endian int64, no more than a ciphertext has slots; returns the ciphertext."""
        values = self.numpy.frombuffer(frames[0], "<i8")
        plain = self.context.MakePackedPlaintext(values.tolist())
        return [self.fhe.Serialize(self.context.Encrypt(self.public, plain), self.fhe.BINARY)]

    def add(self, frames: list[bytes]) -> list[bytes]:
        """Add to the sum at place `frames[0]`: a party's ciphertext there, or its part in opening it."""
        place, found = int(frames[0]), self.fhe.DeserializeCiphertextString(frames[1], self.fhe.BINARY)
        self.total[place] = self.context.EvalAdd(self.total[place], found) if place in self.total else found
        return []

    def sum(self, frames: list[bytes]) -> list[bytes]:
        """The sum at place `frames[0]`, which is then forgotten."""
        return [self.fhe.Serialize(self.total.pop(int(frames[0])), self.fhe.BINARY)]

    def partial(self, frames: list[bytes]) -> list[bytes]:
        """A party's part in opening the ciphertext `frames[1]`; `frames[0]` is b"1" at the first party."""
        found = self.fhe.DeserializeCiphertextString(frames[1], self.fhe.BINARY)
        part = self.context.MultipartyDecryptLead if frames[0] == b"1" else self.context.MultipartyDecryptMain
        return [self.fhe.Serialize(part([found], self.key.secretKey)[0], self.fhe.BINARY)]

    def fuse(self, frames: list[bytes]) -> list[bytes]:
        """Open what the parts at place `frames[0]` add up to: its first `frames[1]` slots, little-endian int64."""
        plain = self.context.MultipartyDecryptFusion([self.total.pop(int(frames[0]))])
        plain.SetLength(int(frames[1]))
        return [self.numpy.array(plain.GetPackedValue(), "<i8").tobytes()]

    def clear(self, frames: list[bytes]) -> list[bytes]:
        """Forget any sum."""
        self.total = {}
        return []

    def time(self, frames: list[bytes]) -> list[bytes]:
        """CPU seconds of this process so far, in text."""
        return [str(time.process_time()).encode()]


def main() -> None:
    """Answer messages until the other side hangs up."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        role = Role()
    except ImportError as error:
        write(sink, [b"error", str(error).encode()])
        return
    write(sink, [b"ok"])
    while frames := read(source):
        try:
            answer = [b"ok", *role.answer(frames[0].decode(), frames[1:])]
        except Exception as error:  # whatever happens inside OpenFHE becomes an answer
            answer = [b"error", f"{type(error).__name__}: {error}".encode()]
        write(sink, answer)


if __name__ == "__main__":
    main()
