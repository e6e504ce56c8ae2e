"""One role of a threshold BFV sum in OpenFHE, in a process of its own: answers messages on its standard streams.

Run by the Python that OpenFHE's wheel was built for, which need not have tacit: this file imports nothing of ours. A
message is a count of frames (4 bytes, little-endian), and for each its length (8 bytes) and its bytes; the first frame
of a request names an operation, the first of an answer is "ok" or "error". Nothing is unpickled.
"""

from __future__ import annotations

import struct
import sys
import time
from typing import IO, Any

MODULUS = 4295294977  # prime, 1 mod 65536, above 2^32: holds every sum of signed 32-bit integers that does not overflow
MOST = 2**34  # bytes of a frame: what is longer is no message


def read(stream: IO[bytes]) -> list[bytes]:
    """The next message; empty at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return []
    frames = []
    for _ in range(struct.unpack("<I", head)[0]):
        size = struct.unpack("<Q", stream.read(8))[0]
        if size > MOST:
            raise ValueError(f"a frame of {size} bytes is no message")
        frames.append(stream.read(size))
        if len(frames[-1]) < size:
            raise ValueError("a message ends in the middle of a frame")
    return frames


def write(stream: IO[bytes], frames: list[bytes]) -> None:
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
        self.key: Any = None
        self.public: Any = None
        self.total: list[Any] = []

    def answer(self, operation: str, frames: list[bytes]) -> list[bytes]:
        """Do one operation."""
        if operation not in (
            "open",
            "load",
            "lead",
            "join",
            "joint",
            "encrypt",
            "add",
            "sum",
            "partial",
            "fuse",
            "time",
        ):
            raise ValueError(f"unknown operation {operation!r}")
        found: list[bytes] = getattr(self, operation)(frames)
        return found

    def open(self, frames: list[bytes]) -> list[bytes]:
        """Make a context: 128 bits, additions only; `frames[0]` is b"1" for noise flooding."""
        fhe = self.fhe
        parameters = fhe.CCParamsBFVRNS()
        parameters.SetPlaintextModulus(MODULUS)
        parameters.SetMultiplicativeDepth(0)
        flooding = fhe.MultipartyMode.NOISE_FLOODING_MULTIPARTY
        fixed = fhe.MultipartyMode.FIXED_NOISE_MULTIPARTY
        parameters.SetMultipartyMode(flooding if frames[0] == b"1" else fixed)
        return self.load([fhe.Serialize(fhe.GenCryptoContext(parameters), fhe.BINARY)])

    def load(self, frames: list[bytes]) -> list[bytes]:
        """Take a context, forget any sum; returns the context and how many values a ciphertext holds."""
        fhe = self.fhe
        self.context = fhe.DeserializeCryptoContextString(frames[0], fhe.BINARY)
        feature = fhe.PKESchemeFeature
        for each in (feature.PKE, feature.KEYSWITCH, feature.LEVELEDSHE, feature.ADVANCEDSHE, feature.MULTIPARTY):
            self.context.Enable(each)
        self.total = []
        return [frames[0], str(self.context.GetRingDimension()).encode()]

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
        """`frames[0]`: little-endian int32 values; returns a ciphertext for each ring's worth."""
        values, step = self.numpy.frombuffer(frames[0], "<i4"), self.context.GetRingDimension()
        out = []
        for low in range(0, len(values), step):
            plain = self.context.MakePackedPlaintext(values[low : low + step].tolist())
            out.append(self.fhe.Serialize(self.context.Encrypt(self.public, plain), self.fhe.BINARY))
        return out

    def _ciphertexts(self, frames: list[bytes]) -> list[Any]:
        return [self.fhe.DeserializeCiphertextString(frame, self.fhe.BINARY) for frame in frames]

    def add(self, frames: list[bytes]) -> list[bytes]:
        """Add one party's ciphertexts to the sum."""
        found = self._ciphertexts(frames)
        if self.total and len(found) != len(self.total):
            raise ValueError(f"{len(self.total)} ciphertexts were needed, got {len(found)}")
        both = zip(self.total, found)  # noqa: B905 - lengths are equal, and old Pythons know no `strict`
        self.total = [self.context.EvalAdd(one, other) for one, other in both] if self.total else found
        return []

    def sum(self, frames: list[bytes]) -> list[bytes]:
        """The sum's ciphertexts; the next sum begins."""
        total, self.total = self.total, []
        return [self.fhe.Serialize(each, self.fhe.BINARY) for each in total]

    def partial(self, frames: list[bytes]) -> list[bytes]:
        """A party's part in opening ciphertexts; `frames[0]` is b"1" at the first party."""
        found = self._ciphertexts(frames[1:])
        part = self.context.MultipartyDecryptLead if frames[0] == b"1" else self.context.MultipartyDecryptMain
        return [self.fhe.Serialize(part([each], self.key.secretKey)[0], self.fhe.BINARY) for each in found]

    def fuse(self, frames: list[bytes]) -> list[bytes]:
        """Open the sum: `frames[0]` how many values, `frames[1]` of how many parties, then their parts in turn."""
        size, parties = int(frames[0]), int(frames[1])
        parts, step, out = frames[2:], self.context.GetRingDimension(), []
        batches = -(-size // step)
        if len(parts) != batches * parties:
            raise ValueError(f"{batches * parties} parts were needed, got {len(parts)}")
        for batch in range(batches):
            plain = self.context.MultipartyDecryptFusion(self._ciphertexts(parts[batch::batches]))
            plain.SetLength(min(step, size - batch * step))
            out.append(self.numpy.array(plain.GetPackedValue(), "<i8").tobytes())
        return [b"".join(out)]

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
